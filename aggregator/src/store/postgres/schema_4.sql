-- Version 4: topics are counted over time, it is recorded which events are repeated, and rows kept for review are marked as seen.

-- A program of an earlier version does not know this column, so it can count no events that this version would miss.
ALTER TABLE topics ADD COLUMN schema int4 NOT NULL DEFAULT 3;
ALTER TABLE topics ALTER COLUMN schema DROP DEFAULT;

-- The topics that are counted over time: the first ones of the store. A topic is added before its first event is counted.
CREATE TABLE counted_topics (
    topic bytea PRIMARY KEY,
    number int4 NOT NULL
);

-- One row, locked by those who add topics: how many there are, and when the count began, in microseconds since 1970; 0 for always.
CREATE TABLE topic_counting (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    topics int4 NOT NULL,
    since bigint NOT NULL
);
INSERT INTO topic_counting (topics, since) SELECT 0, coalesce(nullif(max(processed_at), 0) + 1, 0) FROM counters;

-- What a writer counted of a topic in a minute. Minutes that are old are added to the first minute of their hour.
CREATE TABLE topic_minutes (
    topic bytea NOT NULL,
    minute bigint NOT NULL,
    writer int4 NOT NULL,
    unique_processed bigint NOT NULL,
    duplicate_dropped bigint NOT NULL,
    PRIMARY KEY (topic, minute, writer)
);
CREATE INDEX topic_minutes_to_add ON topic_minutes (minute ASC) WHERE minute % 60 <> 0 OR writer > 0;

-- Which events were repeated: a row for each batch with duplicates, which never changes.
CREATE TABLE repeats (
    writer int4 NOT NULL,
    batch bytea NOT NULL,
    processed_at bigint NOT NULL,
    -- Of duplicates. Those of a writer are its `duplicate_dropped`.
    number bigint NOT NULL,
    -- The lowest and the highest in `stored`.
    first_stored bigint NOT NULL,
    last_stored bigint NOT NULL,
    -- The topics, and how many duplicates of each follow each other in the columns below. NULL if nothing but their number is known.
    topics bytea[],
    counts bigint[],
    -- The place of the event that has the identity of each duplicate.
    stored bigint[],
    -- The place of the duplicate, and the source of a conflict.
    places bigint[],
    sources bytea[],
    PRIMARY KEY (writer, batch)
);
CREATE INDEX repeats_by_time ON repeats (processed_at ASC, writer, batch);
INSERT INTO repeats (writer, batch, processed_at, number, first_stored, last_stored)
    SELECT writer, ''::bytea, processed_at, duplicate_dropped, 0, 9223372036854775807 FROM counters WHERE duplicate_dropped > 0;

-- Up to which place rejected arrivals and conflicts are marked as seen, and how many these are, with those that are no longer kept.
CREATE TABLE seen_marks (
    kept text PRIMARY KEY,
    up_to bigint NOT NULL,
    number bigint NOT NULL
);
