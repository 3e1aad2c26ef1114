-- One store, schema version 4. Every fact below changes in the transaction that changes its rows.

CREATE TABLE store (
    only        INTEGER PRIMARY KEY CHECK (only = 1),
    store_id    TEXT NOT NULL,           -- names this store to the durable consumer
    hash_key    BLOB NOT NULL,           -- 16 random bytes, key of fingerprints and digests
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
    incarnation       INTEGER,                    -- the current one
    rejected_evicted  INTEGER NOT NULL DEFAULT 0, -- so many rows of `rejected` have gone, the oldest first
    rejected_bytes    INTEGER NOT NULL DEFAULT 0, -- of the rows that are there, as append/kept.rs counts them
    conflicts_evicted INTEGER NOT NULL DEFAULT 0,
    conflicts_bytes   INTEGER NOT NULL DEFAULT 0
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
    -- The applied message with the highest sequence. A stream that has another time there gave numbers out again.
    witness      INTEGER NOT NULL DEFAULT 0,
    witness_time INTEGER NOT NULL DEFAULT 0,
    evicted_to   INTEGER NOT NULL DEFAULT 0, -- rejected rows of no later stream sequence have been evicted
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
    digest            BLOB NOT NULL,     -- 16 bytes, little-endian: sum of its events' hashes modulo 2^128
    first_at          INTEGER NOT NULL,  -- when its first event was applied
    last_at           INTEGER NOT NULL,  -- when its latest event was applied, duplicates included
    last_sequence     INTEGER NOT NULL   -- its last event stored, 0 where there is none
);

-- Only ever appended to, in the order of the sequence; no index, for an index on anything else would change a page
-- at random for every event. That an identity is stored once is the dedup index's work, which is derived from these
-- rows. The events of a topic are a chain, from `last_sequence` of its row along `previous`.
CREATE TABLE events (
    sequence        INTEGER PRIMARY KEY, -- the order in which events were stored
    topic_id        INTEGER NOT NULL,
    previous        INTEGER NOT NULL,    -- sequence of the event before it in its topic, 0 for the first
    event_id        TEXT NOT NULL,
    timestamp       TEXT NOT NULL,
    source          TEXT NOT NULL,
    payload         TEXT NOT NULL,
    processed_at    INTEGER NOT NULL,
    incarnation     INTEGER NOT NULL,
    stream_sequence INTEGER NOT NULL,
    position        INTEGER NOT NULL,    -- in its message, from 0
    timestamp_filled INTEGER NOT NULL DEFAULT 0 -- 1 where arrival filled it in: never compared then
);

-- Every 128th event of a topic, so that its chain can be entered anywhere and its events before any sequence be counted.
CREATE TABLE marks (
    topic_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    ordinal  INTEGER NOT NULL,           -- it is the so many-th event of its topic, from 1
    PRIMARY KEY (topic_id, sequence)
) WITHOUT ROWID;

-- The seals of the dedup index, each registered in the transaction of the last event in it or a later one. An index
-- whose newest seal is not here is another store's, or knows more than this one does.
CREATE TABLE seals (
    id    BLOB PRIMARY KEY,              -- 16 random bytes
    reach INTEGER NOT NULL               -- sequence of the last event in it
) WITHOUT ROWID;

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
    subject         TEXT NOT NULL,
    timestamp_filled INTEGER NOT NULL DEFAULT 0
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
    body            BLOB NOT NULL,
    requeued_at     INTEGER              -- when it was last sent again
);
CREATE INDEX rejected_by_message ON rejected (incarnation, stream_sequence);
