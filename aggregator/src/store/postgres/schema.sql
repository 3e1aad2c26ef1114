-- Version 1. Numbers are `int4` or `bigint`: `integer` has 64 bits in CockroachDB. Names are bytes: a topic, an event_id or a source may hold the character NUL, which text cannot; and bytes are ordered
-- as the API orders names. The payload is text, not jsonb, so that it comes back byte for byte: JSON text has no NUL, and the
-- escape \u0000 in it is six characters like any others.

-- The store itself: one row.
CREATE TABLE store (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    store_id text NOT NULL,
    hash_key bytea NOT NULL,
    created_at bigint NOT NULL
);

-- One life of the stream each. Messages up to `floor` are applied, or missing for good; their rows in `applied` are deleted.
CREATE TABLE incarnations (
    id bigint PRIMARY KEY,
    stream text NOT NULL,
    created bigint NOT NULL,
    epoch bigint NOT NULL,
    -- The place of a message is made of `base` + its sequence.
    base bigint NOT NULL,
    begun_at bigint NOT NULL,
    floor bigint NOT NULL DEFAULT 0,
    -- The latest time among the messages up to `floor`, and the last of them.
    latest_time bigint NOT NULL DEFAULT 0,
    witness bigint NOT NULL DEFAULT 0,
    witness_time bigint NOT NULL DEFAULT 0,
    -- Rejected arrivals of messages up to this sequence may be evicted.
    evicted_to bigint NOT NULL DEFAULT 0,
    UNIQUE (stream, created, epoch)
);

-- The applied messages above the floor. `time` is that at which the stream stored the message.
CREATE TABLE applied (
    incarnation bigint NOT NULL,
    sequence bigint NOT NULL,
    time bigint NOT NULL,
    PRIMARY KEY (incarnation, sequence)
);

-- Ranges of sequences above the floor that no message has any more.
CREATE TABLE passed (
    incarnation bigint NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    PRIMARY KEY (incarnation, first)
);

-- Those of them that were never applied.
CREATE TABLE missing (
    incarnation bigint NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    noticed_at bigint NOT NULL,
    acknowledged_at bigint,
    PRIMARY KEY (incarnation, first)
);

-- The primary key is what keeps an identity from being stored twice, by any aggregator.
CREATE TABLE events (
    fingerprint bytea PRIMARY KEY,
    content bigint NOT NULL,
    place bigint NOT NULL,
    topic bytea NOT NULL,
    event_id bytea NOT NULL,
    "timestamp" text NOT NULL,
    timestamp_filled boolean NOT NULL,
    source bytea NOT NULL,
    payload text NOT NULL,
    processed_at bigint NOT NULL
);
-- Ascending is the default; YugabyteDB hashes the first column without it, and pages are in the order of places.
CREATE INDEX events_by_place ON events (place ASC);
CREATE INDEX events_by_topic ON events (topic, place);

-- A writer is one connection of one aggregator that appends; it alone changes its rows.
CREATE TABLE counters (
    writer int4 PRIMARY KEY,
    received bigint NOT NULL DEFAULT 0,
    unique_processed bigint NOT NULL DEFAULT 0,
    duplicate_dropped bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    rejected_bytes bigint NOT NULL DEFAULT 0,
    rejected_evicted bigint NOT NULL DEFAULT 0,
    conflicts bigint NOT NULL DEFAULT 0,
    conflicts_bytes bigint NOT NULL DEFAULT 0,
    conflicts_evicted bigint NOT NULL DEFAULT 0,
    redelivered bigint NOT NULL DEFAULT 0,
    processed_at bigint NOT NULL DEFAULT 0,
    -- The last batch that it committed.
    last_batch bytea
);

CREATE TABLE topics (
    topic bytea NOT NULL,
    writer int4 NOT NULL,
    unique_processed bigint NOT NULL,
    duplicate_dropped bigint NOT NULL,
    -- The sum of the summands of its events, modulo 2^128.
    digest numeric(39) NOT NULL,
    first_at bigint NOT NULL,
    last_at bigint NOT NULL,
    PRIMARY KEY (topic, writer)
);

-- The counts of each minute in which a writer committed, and the places of the events that it stored in it.
CREATE TABLE minutes (
    minute bigint NOT NULL,
    writer int4 NOT NULL,
    unique_processed bigint NOT NULL,
    duplicate_dropped bigint NOT NULL,
    rejected bigint NOT NULL,
    first_place bigint NOT NULL,
    last_place bigint NOT NULL,
    PRIMARY KEY (minute, writer)
);

CREATE TABLE rejected (
    place bigint PRIMARY KEY,
    incarnation bigint NOT NULL,
    stream_sequence bigint NOT NULL,
    position bigint NOT NULL,
    reason text NOT NULL,
    detail bytea NOT NULL,
    subject bytea NOT NULL,
    processed_at bigint NOT NULL,
    requeued_at bigint,
    body bytea NOT NULL,
    sent_by bytea
);
CREATE INDEX rejected_requeued ON rejected (requeued_at) WHERE requeued_at IS NOT NULL;

CREATE TABLE conflicts (
    place bigint PRIMARY KEY,
    fingerprint bytea NOT NULL,
    incarnation bigint NOT NULL,
    stream_sequence bigint NOT NULL,
    position bigint NOT NULL,
    "timestamp" text NOT NULL,
    timestamp_filled boolean NOT NULL,
    source bytea NOT NULL,
    payload text NOT NULL,
    subject bytea NOT NULL,
    processed_at bigint NOT NULL,
    sent_by bytea
);

-- The aggregators: each has a slot while it is alive, and writes the rows of the slot's writers.
CREATE TABLE aggregators (
    slot int4 PRIMARY KEY,
    holder text NOT NULL,
    alive_until timestamptz NOT NULL
);

-- Who does what only one aggregator needs to do. The epoch counts the holders.
CREATE TABLE leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    epoch bigint NOT NULL,
    until timestamptz NOT NULL
);
