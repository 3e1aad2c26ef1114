-- The rows of the store, schema version 2, with the same number of statements per transaction, without tables that only failures need.

CREATE TABLE counters (
    only              INTEGER PRIMARY KEY CHECK (only = 1),
    received          INTEGER NOT NULL,
    unique_processed  INTEGER NOT NULL,
    duplicate_dropped INTEGER NOT NULL,
    processed_at      INTEGER NOT NULL
);
INSERT INTO counters VALUES (1, 0, 0, 0, 0);

CREATE TABLE incarnations (
    id          INTEGER PRIMARY KEY,
    latest_time INTEGER NOT NULL
);
INSERT INTO incarnations VALUES (1, 0);

CREATE TABLE applied (
    incarnation INTEGER NOT NULL,
    first       INTEGER NOT NULL,
    last        INTEGER NOT NULL,
    PRIMARY KEY (incarnation, first)
) WITHOUT ROWID;
INSERT INTO applied VALUES (1, 1, 0);

CREATE TABLE topics (
    id                INTEGER PRIMARY KEY,
    name              TEXT NOT NULL UNIQUE,
    received          INTEGER NOT NULL,
    unique_processed  INTEGER NOT NULL,
    duplicate_dropped INTEGER NOT NULL,
    digest            BLOB NOT NULL,
    last_sequence     INTEGER NOT NULL,
    first_at          INTEGER NOT NULL,
    last_at           INTEGER NOT NULL
);

CREATE TABLE events (
    sequence        INTEGER PRIMARY KEY,
    topic_id        INTEGER NOT NULL,
    previous        INTEGER NOT NULL, -- the sequence of the event before it in its topic
    event_id        TEXT NOT NULL,
    timestamp       TEXT NOT NULL,
    source          TEXT NOT NULL,
    payload         TEXT NOT NULL,
    processed_at    INTEGER NOT NULL,
    incarnation     INTEGER NOT NULL,
    stream_sequence INTEGER NOT NULL,
    position        INTEGER NOT NULL
);
