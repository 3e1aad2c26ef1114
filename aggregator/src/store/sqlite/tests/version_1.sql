-- One store, schema version 1. Every fact below changes in the transaction that changes its rows.

CREATE TABLE store (
    only        INTEGER PRIMARY KEY CHECK (only = 1),
    store_id    TEXT NOT NULL,           -- names this store to the durable consumer
    digest_key  BLOB NOT NULL,           -- 16 random bytes, key of the digests
    created_at  INTEGER NOT NULL         -- microseconds since 1970, as all `…_at`
);

-- received = unique_processed + duplicate_dropped + rejected, at every commit.
CREATE TABLE counters (
    only              INTEGER PRIMARY KEY CHECK (only = 1),
    received          INTEGER NOT NULL DEFAULT 0,
    unique_processed  INTEGER NOT NULL DEFAULT 0,
    duplicate_dropped INTEGER NOT NULL DEFAULT 0,
    rejected          INTEGER NOT NULL DEFAULT 0,
    conflicts         INTEGER NOT NULL DEFAULT 0, -- a part of duplicate_dropped
    redelivered       INTEGER NOT NULL DEFAULT 0, -- deliveries, not events
    topics            INTEGER NOT NULL DEFAULT 0,
    processed_at      INTEGER NOT NULL DEFAULT 0, -- the latest given to an event
    incarnation       INTEGER                     -- the current one
);

-- The lives of streams: a name, a creation time, and an epoch of ours for each time that the broker was seen
-- to give sequence numbers out again.
CREATE TABLE incarnations (
    id          INTEGER PRIMARY KEY,
    stream      TEXT NOT NULL,
    created     INTEGER NOT NULL,        -- the broker's creation time, nanoseconds since 1970
    epoch       INTEGER NOT NULL,
    latest_time INTEGER NOT NULL,        -- latest JetStream time among applied messages, nanoseconds
    begun_at    INTEGER NOT NULL,
    UNIQUE (stream, created, epoch)
);

-- Applied stream sequences as inclusive ranges that neither touch nor overlap.
CREATE TABLE applied (
    incarnation INTEGER NOT NULL,
    first       INTEGER NOT NULL,
    last        INTEGER NOT NULL,
    PRIMARY KEY (incarnation, first)
) WITHOUT ROWID;

-- Sequences that the stream lost before they were applied. They stand in `applied` too, so that its floor passes.
CREATE TABLE missing (
    incarnation     INTEGER NOT NULL,
    first           INTEGER NOT NULL,
    last            INTEGER NOT NULL,
    noticed_at      INTEGER NOT NULL,
    acknowledged_at INTEGER,
    PRIMARY KEY (incarnation, first)
) WITHOUT ROWID;

CREATE TABLE topics (
    id                INTEGER PRIMARY KEY,
    name              TEXT NOT NULL UNIQUE,
    received          INTEGER NOT NULL,
    unique_processed  INTEGER NOT NULL,
    duplicate_dropped INTEGER NOT NULL,
    digest            BLOB NOT NULL,     -- 16 bytes, little-endian: sum of its events' digests modulo 2^128
    first_at          INTEGER NOT NULL,  -- when its first event was applied
    last_at           INTEGER NOT NULL   -- when its latest event was applied, duplicates included
);

CREATE TABLE events (
    sequence        INTEGER PRIMARY KEY, -- the order in which events were stored
    topic_id        INTEGER NOT NULL,
    event_id        TEXT NOT NULL,
    timestamp       TEXT NOT NULL,
    source          TEXT NOT NULL,
    payload         TEXT NOT NULL,
    processed_at    INTEGER NOT NULL,
    incarnation     INTEGER NOT NULL,
    stream_sequence INTEGER NOT NULL,
    position        INTEGER NOT NULL,    -- in its message, from 0
    UNIQUE (topic_id, event_id)
);
CREATE INDEX events_by_topic ON events (topic_id, sequence);

CREATE TABLE conflicts (
    id              INTEGER PRIMARY KEY,
    stored_sequence INTEGER NOT NULL,    -- the event that was there first
    timestamp       TEXT NOT NULL,
    source          TEXT NOT NULL,
    payload         TEXT NOT NULL,
    processed_at    INTEGER NOT NULL,
    incarnation     INTEGER NOT NULL,
    stream_sequence INTEGER NOT NULL,
    position        INTEGER NOT NULL,
    subject         TEXT NOT NULL
);

CREATE TABLE rejected (
    id              INTEGER PRIMARY KEY,
    reason          TEXT NOT NULL,       -- for programs
    detail          TEXT NOT NULL,       -- for people
    subject         TEXT NOT NULL,
    incarnation     INTEGER NOT NULL,
    stream_sequence INTEGER NOT NULL,
    position        INTEGER NOT NULL,
    processed_at    INTEGER NOT NULL,
    body            BLOB NOT NULL
);
CREATE INDEX rejected_by_message ON rejected (incarnation, stream_sequence);
