-- What is written to find out whether anything can be: one row, about as large as a round.
CREATE TABLE writes (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    body BLOB NOT NULL
);
