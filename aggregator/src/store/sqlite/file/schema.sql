-- The schema of a store, version 8. Counters and other derived values change in the transaction that changes the rows.

CREATE TABLE store (
    only        INTEGER PRIMARY KEY CHECK (only = 1),
    store_id    TEXT NOT NULL,           -- identifies this store to the durable consumer
    hash_key    BLOB NOT NULL,           -- 16 random bytes, key of fingerprints and digests
    created_at  INTEGER NOT NULL,        -- microseconds since 1970, as in all `…_at` columns
    history_since INTEGER NOT NULL DEFAULT 0 -- `history` is complete from this time on; 0 if always
);

-- received = unique_processed + duplicate_dropped + rejected, at every commit.
CREATE TABLE counters (
    only              INTEGER PRIMARY KEY CHECK (only = 1),
    received          INTEGER NOT NULL DEFAULT 0,
    unique_processed  INTEGER NOT NULL DEFAULT 0,
    duplicate_dropped INTEGER NOT NULL DEFAULT 0,
    rejected          INTEGER NOT NULL DEFAULT 0,
    conflicts         INTEGER NOT NULL DEFAULT 0, -- included in duplicate_dropped
    redelivered       INTEGER NOT NULL DEFAULT 0, -- deliveries, not events
    topics            INTEGER NOT NULL DEFAULT 0,
    processed_at      INTEGER NOT NULL DEFAULT 0, -- the latest `processed_at` of any event
    incarnation       INTEGER,                    -- the current one
    rejected_evicted  INTEGER NOT NULL DEFAULT 0, -- rows of `rejected` evicted, oldest first
    rejected_bytes    INTEGER NOT NULL DEFAULT 0, -- bytes of the rows in `rejected`, as counted by writer/kept.rs
    conflicts_evicted INTEGER NOT NULL DEFAULT 0,
    conflicts_bytes   INTEGER NOT NULL DEFAULT 0,
    rejected_seen     INTEGER NOT NULL DEFAULT 0, -- an operator has seen the rejected rows up to this id
    conflicts_seen    INTEGER NOT NULL DEFAULT 0
);

-- Counts as they were at the end of a minute and of an hour, each written with the first change after it. So the counts at a
-- time are those of the latest row that ended by then, or the current ones if nothing has changed since.
CREATE TABLE history (
    topic_id          INTEGER NOT NULL,           -- 0 for the counts of all topics
    step              INTEGER NOT NULL,           -- 1 for a minute, 60 for an hour
    minute            INTEGER NOT NULL,           -- the end, in minutes since 1970
    unique_processed  INTEGER NOT NULL,
    duplicate_dropped INTEGER NOT NULL,
    rejected          INTEGER NOT NULL,           -- 0 for topics, because a rejected arrival has none
    PRIMARY KEY (topic_id, step, minute)
) WITHOUT ROWID;

-- Incarnations of streams: a name, a creation time, and an epoch, which the aggregator increases each time it detects
-- that the broker has reused sequence numbers.
CREATE TABLE incarnations (
    id          INTEGER PRIMARY KEY,
    stream      TEXT NOT NULL,
    created     INTEGER NOT NULL,        -- the broker's creation time, nanoseconds since 1970
    epoch       INTEGER NOT NULL,
    latest_time INTEGER NOT NULL,        -- latest JetStream time of an applied message, nanoseconds since 1970
    begun_at    INTEGER NOT NULL,
    -- The applied message with the highest sequence. If the stream has another time there, it has reused sequences.
    witness      INTEGER NOT NULL DEFAULT 0,
    witness_time INTEGER NOT NULL DEFAULT 0,
    evicted_to   INTEGER NOT NULL DEFAULT 0, -- no rejected row with a later stream sequence has been evicted
    UNIQUE (stream, created, epoch)
);

-- Applied stream sequences as inclusive ranges that neither touch nor overlap.
CREATE TABLE applied (
    incarnation INTEGER NOT NULL,
    first       INTEGER NOT NULL,
    last        INTEGER NOT NULL,
    PRIMARY KEY (incarnation, first)
) WITHOUT ROWID;

-- Sequences that the stream lost before they were applied. They are in `applied` as well, so that its floor can advance.
CREATE TABLE missing (
    incarnation     INTEGER NOT NULL,
    first           INTEGER NOT NULL,
    last            INTEGER NOT NULL,
    noticed_at      INTEGER NOT NULL,
    acknowledged_at INTEGER,
    PRIMARY KEY (incarnation, first)
) WITHOUT ROWID;

-- In the order in which they were created, with consecutive ids.
CREATE TABLE topics (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL
);

-- The counts, times and digest of each topic, by id, and the ids by name. A batch changes topics in random order, so they are in
-- sorted runs, of which the newest that has a key has its value. A block has the entries from its first key up to the next
-- block's, as written by sorted_runs/block.rs and topics.rs.
CREATE TABLE topic_states (
    run     INTEGER NOT NULL,
    first   BLOB NOT NULL,
    entries BLOB NOT NULL,
    PRIMARY KEY (run, first)
) WITHOUT ROWID;
CREATE TABLE topic_names (
    run     INTEGER NOT NULL,
    first   BLOB NOT NULL,
    entries BLOB NOT NULL,
    PRIMARY KEY (run, first)
) WITHOUT ROWID;

-- The runs of both; newer ones have larger numbers.
CREATE TABLE runs (
    tree    TEXT NOT NULL,               -- topic_states or topic_names
    run     INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    PRIMARY KEY (tree, run)
) WITHOUT ROWID;

-- Append-only, in order of sequence. There is no other index, because it would change a random page for every event.
-- The dedup index, which is derived from these rows, ensures that an identity is stored once. The events of a topic form
-- a chain, which starts at `last_sequence` of the topic's row and continues along `previous`.
CREATE TABLE events (
    sequence        INTEGER PRIMARY KEY, -- the order in which events were stored
    topic_id        INTEGER NOT NULL,
    previous        INTEGER NOT NULL,    -- sequence of the previous event of its topic, 0 for the first
    event_id        TEXT NOT NULL,
    timestamp       TEXT NOT NULL,
    source          TEXT NOT NULL,
    payload         TEXT NOT NULL,
    processed_at    INTEGER NOT NULL,
    incarnation     INTEGER NOT NULL,
    stream_sequence INTEGER NOT NULL,
    position        INTEGER NOT NULL,    -- position in its message, from 0
    timestamp_filled INTEGER NOT NULL DEFAULT 0 -- 1 if filled in on arrival; then it is never compared
);

-- Which stored events were repeated: a row for each batch with duplicates, as written by repeats.rs. All rows together have as many
-- duplicates as `counters`.
CREATE TABLE repeats (
    id     INTEGER PRIMARY KEY,
    reach  INTEGER NOT NULL,             -- sequence of the last event as of its batch
    first  INTEGER NOT NULL,             -- the lowest and the highest sequence in `events`
    last   INTEGER NOT NULL,
    number INTEGER NOT NULL,             -- of duplicates
    events BLOB                          -- sequences of the repeated events; NULL if they are not known
);

-- Every 128th event of a topic. With the marks, a chain can be entered anywhere, and the events before any sequence counted.
CREATE TABLE marks (
    topic_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    ordinal  INTEGER NOT NULL,           -- its number among the events of its topic, from 1
    PRIMARY KEY (topic_id, sequence)
) WITHOUT ROWID;

-- The seals of the dedup index, each registered in the transaction of the last event in it or a later one. If the newest
-- seal of an index is not here, the index belongs to another store or is ahead of this one.
CREATE TABLE seals (
    id    BLOB PRIMARY KEY,              -- 16 random bytes
    reach INTEGER NOT NULL               -- sequence of the last event in it
) WITHOUT ROWID;

CREATE TABLE conflicts (
    id              INTEGER PRIMARY KEY,
    stored_sequence INTEGER NOT NULL,    -- the stored event
    timestamp       TEXT NOT NULL,
    source          TEXT NOT NULL,
    payload         TEXT NOT NULL,
    processed_at    INTEGER NOT NULL,
    incarnation     INTEGER NOT NULL,
    stream_sequence INTEGER NOT NULL,
    position        INTEGER NOT NULL,
    subject         TEXT NOT NULL,
    timestamp_filled INTEGER NOT NULL DEFAULT 0,
    sent_by         TEXT                 -- the name of its sender's token, as its message says
);

CREATE TABLE rejected (
    id              INTEGER PRIMARY KEY,
    reason          TEXT NOT NULL,       -- code for programs
    detail          TEXT NOT NULL,       -- text for people
    subject         TEXT NOT NULL,
    incarnation     INTEGER NOT NULL,
    stream_sequence INTEGER NOT NULL,
    position        INTEGER NOT NULL,
    processed_at    INTEGER NOT NULL,
    body            BLOB NOT NULL,
    requeued_at     INTEGER,             -- when it was last requeued
    sent_by         TEXT                 -- as in conflicts
);
CREATE INDEX rejected_by_message ON rejected (incarnation, stream_sequence);
-- So that those that were requeued can be counted; a new row is not in it.
CREATE INDEX rejected_requeued ON rejected (id) WHERE requeued_at IS NOT NULL;
