//! Databases and stores that are not copied to or from.

use super::*;
use crate::store::sqlite::tests::harness::raw;

fn refused(copying: &Copying) -> String {
    copying.copy_in(SMALL).unwrap_err().to_string()
}

#[test]
fn a_database_with_another_store_is_refused_and_not_changed() {
    let Some(copying) = Copying::of(fill) else {
        return;
    };
    let mut other = copying.opened();
    other.meet(stream(1, 0));
    other.append(&[delivery(1, &[of(0, 1, 0)])]).unwrap();
    other.close();
    let refused = refused(&copying);
    assert!(refused.contains("already has the store"), "{refused}");
    other.reopen();
    assert_eq!(other.stats().unique_processed, 1);
}

#[test]
fn a_database_with_a_copy_of_another_store_is_refused() {
    let Some(copying) = Copying::of(fill) else {
        return;
    };
    let another = Copying::of(fill).unwrap();
    let stopped = ChunkLimits {
        stop_after: 1,
        ..SMALL
    };
    another
        .copy_to(&copying.address(), stopped, &Quiet)
        .unwrap_err();
    let part = refused(&copying);
    assert!(part.contains("a part of a copy of another store"), "{part}");
    another.copy_to(&copying.address(), SMALL, &Quiet).unwrap();
    let whole = refused(&copying);
    assert!(whole.contains("a copy of another store"), "{whole}");
}

#[test]
fn a_copy_that_was_used_is_not_copied_to_again() {
    let Some(copying) = Copying::of(fill) else {
        return;
    };
    copying.copy();
    copying.opened().close();
    let refused = refused(&copying);
    assert!(refused.contains("has changed since"), "{refused}");
}

#[test]
fn an_empty_database_that_an_aggregator_uses_is_refused_until_it_has_ended() {
    let Some(copying) = Copying::of(fill) else {
        return;
    };
    let mut empty = copying.opened();
    let refused = refused(&copying);
    assert!(
        refused.contains("aggregators use the database"),
        "{refused}"
    );
    empty.close();
    let copied = copying.copy();
    let opened = copying.opened();
    assert_eq!(opened.stats().unique_processed, copied.events);
}

#[test]
fn a_store_whose_rows_are_not_what_it_has_recorded_is_named_as_damaged() {
    for (damage, named) in [
        (
            "UPDATE events SET payload = '{}' WHERE sequence = 2",
            "digests",
        ),
        ("DELETE FROM events WHERE sequence = 3", "events: "),
        ("DELETE FROM rejected WHERE id = 2", "rejected: "),
        (
            "INSERT INTO events SELECT (SELECT max(sequence) + 1 FROM events), topic_id, previous, event_id, timestamp, source, payload, \
             processed_at, incarnation, stream_sequence, position, timestamp_filled FROM events WHERE sequence = 1",
            "the same identity",
        ),
    ] {
        let Some(copying) = Copying::of(fill) else {
            return;
        };
        let file = copying.original.directory().join(FILE);
        raw(&file).execute_batch(damage).unwrap();
        let err = copying.copy_in(SMALL).unwrap_err();
        assert!(matches!(err, CopyError::Damaged(_)), "{err}");
        assert!(err.to_string().contains(named), "{err}");
        let refused = Store::try_in_database(copying.database.clone(), Bounds::default());
        assert!(refused.is_err(), "it is not used");
    }
}

#[test]
fn rows_that_are_not_read_back_as_they_were_copied_are_found() {
    for damage in [
        "UPDATE events SET payload = '{}' WHERE place = (SELECT max(place) FROM events)",
        "UPDATE events SET processed_at = processed_at + 1 WHERE place = (SELECT min(place) FROM events)",
        "DELETE FROM conflicts WHERE place = (SELECT max(place) FROM conflicts)",
        "UPDATE rejected SET body = 'other' WHERE place = (SELECT max(place) FROM rejected)",
        "UPDATE topics SET duplicate_dropped = duplicate_dropped + 1 WHERE topic = 't0'",
        "UPDATE incarnations SET floor = floor + 1",
        "DELETE FROM missing",
        "UPDATE minutes SET unique_processed = unique_processed + 1",
    ] {
        let Some(copying) = Copying::of(fill) else {
            return;
        };
        // All is copied, but not compared: a check of the source failed.
        let counters = "CREATE FUNCTION damage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN";
        let stopped = ChunkLimits {
            stop_after: 0,
            ..SMALL
        };
        copying.copy_in(stopped).unwrap_err();
        copying.database.sql(&format!(
            "{counters} {damage}; RETURN NEW; END $$; CREATE TRIGGER damage AFTER INSERT ON counters FOR EACH ROW EXECUTE FUNCTION damage()"
        ));
        let err = copying.copy_in(SMALL).unwrap_err();
        assert!(matches!(err, CopyError::Differs(_)), "{damage}: {err}");
    }
}
