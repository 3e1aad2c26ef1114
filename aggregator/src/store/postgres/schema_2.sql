-- Version 2: who the aggregators are, for people.
ALTER TABLE aggregators
    ADD COLUMN name text NOT NULL DEFAULT '',
    ADD COLUMN since timestamptz NOT NULL DEFAULT clock_timestamp();
