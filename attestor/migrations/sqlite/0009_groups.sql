-- What a round looks up by host must not cost more for a larger fleet.
CREATE INDEX inventory_eks_by_host ON inventory_eks (host);
CREATE INDEX nodes_by_host ON nodes (host);
