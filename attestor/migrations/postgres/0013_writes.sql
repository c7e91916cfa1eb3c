-- What is written to find out whether anything can be: one row, about as large as a round.
CREATE TABLE writes (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    body BYTEA NOT NULL
);
