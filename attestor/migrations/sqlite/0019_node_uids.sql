-- Which node of its name was mapped: one that is made anew under the name is another node. Without it, the node was
-- mapped by an attestor that saw no cluster.
ALTER TABLE nodes ADD COLUMN uid TEXT;
