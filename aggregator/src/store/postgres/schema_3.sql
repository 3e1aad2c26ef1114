-- Version 3: a store can be copied from one of another engine.

-- The id of the store that it was copied from, and when the copy was complete. Before that, no aggregator uses it.
ALTER TABLE store ADD COLUMN copied_from text;
ALTER TABLE store ADD COLUMN copied_at bigint;

-- Sequences above the floor that were applied, or missing for good, in the store that it was copied from: the first and the last of each
-- range, one after the other. The times of their messages are not known, so they have no rows in `applied`. NULL for none.
ALTER TABLE incarnations ADD COLUMN copied bigint[];

-- How far each part of a copy is, written in the transaction that inserts the rows. When the copy is complete, only the row of the store
-- itself is left, whose `hashes` say whether the other store has changed since.
CREATE TABLE copy_progress (
    part text PRIMARY KEY,
    -- The sequence or id, in the other store, of the last row that was copied; for the store itself, when the copy began.
    last bigint NOT NULL,
    rows bigint NOT NULL,
    -- Sums over these rows, modulo 2^128: of their keyed hashes, and of what they add to the digests of topics.
    hashes numeric(39) NOT NULL,
    digests numeric(39) NOT NULL
);
