//! What the copy answers.

use super::*;
use crate::store::{
    copy::Left,
    query::{
        Conflict, EventQuery, Filter, Histogram, HistogramQuery, Missing, NoHistogram, Rejected,
        ReviewQuery, Seen, Stats, StoredEvent, TopicCounts, TopicQuery, TopicSort, Visible, Window,
    },
};

const MINUTE: i64 = 60_000_000;

/// Everything that a store answers, without what differs between the engines: the numbers of rows, and the order of storage.
#[derive(Debug, PartialEq)]
struct Answers {
    stats: Stats,
    /// With their places in the stream, and the bounds of their repeats.
    events: Vec<(StoredEvent, u64, u64, (u64, u64))>,
    found: Vec<Vec<StoredEvent>>,
    topics: Vec<Vec<TopicCounts>>,
    rejected: Vec<Rejected>,
    conflicts: Vec<Conflict>,
    missing: Vec<Missing>,
    minutes: Vec<(u64, u64, u64)>,
    /// Of some topics, of which the last one is not counted.
    over_time: Vec<Result<Histogram, NoHistogram>>,
}

/// The counts without the ids of marks, and without the aggregators, which only a database lists.
fn comparable_stats(store: &Store) -> Stats {
    let stats = store.stats();
    let without_id = |seen: Seen| Seen { up_to: 0, ..seen };
    Stats {
        rejected_seen: without_id(stats.rejected_seen),
        conflicts_seen: without_id(stats.conflicts_seen),
        aggregators: Vec::new(),
        ..stats
    }
}

fn answers(store: &Store) -> Answers {
    let runtime = Arc::clone(&store.runtime);
    let reader = store.reader();
    runtime.block_on(reader.learn_leaders()).unwrap();
    let all = events(store, &EventQuery::default());
    let events_of = |query: EventQuery| {
        let mut events = events(store, &query);
        for event in &mut events {
            event.sequence = 0;
        }
        events.sort_by(|a, b| (&a.topic, &a.event_id).cmp(&(&b.topic, &b.event_id)));
        events
    };
    let mut found = Vec::new();
    for topic in ["t0", "t3", "t\0/ä", "none"] {
        found.push(events_of(EventQuery {
            topics: vec![topic.to_owned()],
            ..EventQuery::default()
        }));
    }
    for (since, until) in [(100, 101), (103, 104), (104, 110), (110, 116), (116, 200)] {
        found.push(events_of(EventQuery {
            since: Some(since * MINUTE),
            until: Some(until * MINUTE),
            ..EventQuery::default()
        }));
    }
    found.push(events_of(EventQuery {
        filter: Filter {
            contains: Some("1e400".to_owned()),
            ..Filter::default()
        },
        ..EventQuery::default()
    }));
    let mut identified: Vec<_> = all
        .iter()
        .map(|event| {
            let one = reader.event(event.topic.clone(), event.event_id.clone());
            let one = runtime.block_on(one).unwrap().unwrap();
            let event = StoredEvent {
                sequence: 0,
                ..one.event
            };
            (event, one.stream_sequence, one.position, one.again)
        })
        .collect();
    identified.sort_by(|a, b| (&a.0.topic, &a.0.event_id).cmp(&(&b.0.topic, &b.0.event_id)));
    let topics = [
        TopicSort::Name,
        TopicSort::Received,
        TopicSort::First,
        TopicSort::Last,
    ]
    .map(|sort| {
        let query = TopicQuery {
            sort,
            recent: Some(Window::last_minutes(30, 120 * MINUTE)),
            ..TopicQuery::default()
        };
        let page = runtime.block_on(reader.topics(query, 100)).unwrap();
        assert_eq!(page.total, Some(page.topics.len() as u64));
        page.topics
    });
    let rejected = runtime.block_on(reader.rejected(ReviewQuery::default(), 100, Vec::new()));
    let mut rejected = rejected.unwrap().rows;
    for row in &mut rejected {
        row.id = 0;
    }
    let conflicts = runtime.block_on(reader.conflicts(ReviewQuery::default(), 100, Vec::new()));
    let mut conflicts = conflicts.unwrap().rows;
    for row in &mut conflicts {
        row.id = 0;
        row.stored.sequence = 0;
    }
    let histogram = |topics: &[&str]| {
        let histogram = reader.histogram(HistogramQuery {
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            visible: Visible::default(),
            since: 99 * MINUTE,
            until: 120 * MINUTE,
            now: 120 * MINUTE,
        });
        runtime.block_on(histogram).unwrap()
    };
    let over_time = [&["t0"][..], &["t1"], &["t0", "t2"], &["t3"]].map(histogram);
    let histogram = histogram(&[]).unwrap();
    let minutes = histogram.buckets.iter();
    let missing = runtime.block_on(reader.missing(100)).unwrap();
    Answers {
        stats: comparable_stats(store),
        events: identified,
        found,
        topics: topics.to_vec(),
        rejected,
        conflicts,
        missing,
        minutes: minutes
            .map(|b| (b.unique, b.duplicates, b.rejected))
            .collect(),
        over_time: over_time.to_vec(),
    }
}

fn events(store: &Store, query: &EventQuery) -> Vec<StoredEvent> {
    let (mut from, mut events) = (None, Vec::new());
    loop {
        let page = store.ask(query.clone(), from, 7);
        events.extend(page.events);
        from = page.next;
        if from.is_none() {
            return events;
        }
    }
}

#[test]
fn a_copy_answers_as_the_store_in_the_directory() {
    let Some(mut copying) = Copying::of(fill) else {
        return;
    };
    let copied = copying.copy();
    assert_eq!(copied.how, How::Whole);
    assert_eq!(copied.applied, Some(("EVENTS".to_owned(), 25)));
    let nothing = Left {
        counted_since: None,
        repeats: 0,
    };
    assert_eq!(copied.left, nothing);
    let opened = copying.opened();
    opened.upkeep();
    copying.original.reopen();
    let (before, after) = (answers(&copying.original), answers(&opened));
    assert_eq!(before.stats.unique_processed, copied.events);
    assert!(copied.conflicts > 0 && copied.rejected > 0 && copied.topics > 5);
    assert_eq!(before, after);
    let stats = opened.stats();
    assert_eq!(
        (stats.rejected_requeued, stats.rejected_seen.number),
        (1, 2)
    );
    // The events are known that were repeated, but not where in the stream.
    let listed = opened.reader().duplicates(None, Visible::default(), 99);
    let listed = opened.runtime.block_on(listed).unwrap();
    assert!(listed.recent.is_empty());
    let often: u64 = listed.often.iter().map(|one| one.least).sum();
    assert_eq!(
        (listed.total, often),
        (Some(often), stats.duplicate_dropped)
    );
    copying.verify(&opened);
}

#[test]
fn what_was_applied_before_is_not_applied_to_the_copy() {
    let Some(copying) = Copying::of(fill) else {
        return;
    };
    copying.copy();
    let mut opened = copying.opened();
    let before = opened.stats();
    let met = opened.meet(stream(25, 28));
    assert!(met.copied_from.is_some());
    assert_eq!(met.standing.floor, 25);
    assert_eq!(
        met.standing.witness.map(|witness| witness.sequence),
        Some(28)
    );
    copying.verify(&opened);
    opened.now = 1_000 * MINUTE;
    let late = |sequence: u64, id| {
        let mut late = delivery(sequence, &[of(4, id, 0)]);
        late.time += 100;
        late
    };
    // Below the floor, above it, and twice; of the earlier life.
    for batch in [
        vec![late(25, 1)],
        vec![late(27, 2), late(28, 3)],
        vec![late(28, 3)],
        vec![delivery(6, &[of(1, 2, 0)]), odd(5)],
    ] {
        let done = opened.append(&batch).unwrap();
        assert_eq!((done.arrivals(), done.redelivered), (0, batch.len() as u64));
    }
    // What was not applied is, and the floor passes what the original had applied.
    let done = opened.append(&[late(26, 3)]).unwrap();
    assert_eq!((done.duplicates, done.redelivered), (1, 0));
    opened.upkeep();
    assert_eq!(opened.writer().standing().floor, 28);
    let copied = copying
        .database
        .sql("SELECT copied IS NULL FROM incarnations ORDER BY id");
    assert_eq!(
        copied, "f\nt",
        "only the gap of the life that has ended is left"
    );
    copying.verify(&opened);
    // The same identities again, and a new one.
    let done = opened.append(&[late(29, 1), late(30, 9)]).unwrap();
    assert_eq!((done.unique, done.duplicates, done.conflicts), (1, 1, 0));
    let after = opened.stats();
    assert_eq!(after.received, before.received + 3);
    assert_eq!(after.unique_processed, before.unique_processed + 1);
    assert!(after.is_consistent());
}

#[test]
fn a_message_in_the_gap_of_an_ended_life_is_applied_to_the_copy_as_to_the_original() {
    let Some(mut copying) = Copying::of(|store| {
        store.meet(stream(1, 0));
        store
            .append(&[delivery(1, &[of(0, 1, 0)]), delivery(2, &[of(0, 2, 0)])])
            .unwrap();
        store
            .append(&[delivery(4, &[of(0, 4, 0)]), delivery(5, &[of(0, 5, 0)])])
            .unwrap();
        store.meet(stream(1, 4));
        store.close();
    }) else {
        return;
    };
    copying.copy();
    copying.original.reopen();
    let mut opened = copying.opened();
    for store in [&mut copying.original, &mut opened] {
        assert_eq!(store.meet_up_to(4), 0, "a new life");
        // All of it is stored, but by other messages.
        let done = store.append(&[delivery(3, &[of(0, 1, 0)])]).unwrap();
        assert_eq!((done.duplicates, done.redelivered), (1, 0));
        let done = store.append(&[delivery(4, &[of(0, 4, 0)])]).unwrap();
        assert_eq!((done.arrivals(), done.redelivered), (0, 1));
    }
}

#[test]
fn an_empty_store_is_copied() {
    let Some(copying) = Copying::of(Store::close) else {
        return;
    };
    let copied = copying.copy();
    assert_eq!((copied.events, copied.applied), (0, None));
    let mut opened = copying.opened();
    assert_eq!(opened.meet_up_to(0), 0);
    let done = opened.append(&[delivery(1, &[of(0, 1, 0)])]).unwrap();
    assert_eq!(done.unique, 1);
}

#[test]
fn a_stream_that_the_aggregator_returned_to_is_the_current_one_of_the_copy() {
    let Some(copying) = Copying::of(|store| {
        let other = || {
            let mut other = stream(1, 0);
            "OTHER".clone_into(&mut other.name);
            other
        };
        store.meet(stream(1, 0));
        store.append(&[delivery(1, &[of(0, 1, 0)])]).unwrap();
        store.meet(other());
        store.append(&[delivery(1, &[of(0, 2, 0)])]).unwrap();
        store.meet(stream(1, 1));
        store.append(&[delivery(2, &[of(0, 3, 0)])]).unwrap();
        store.close();
    }) else {
        return;
    };
    copying.copy();
    let mut opened = copying.opened();
    assert_eq!(opened.meet_up_to(2), 2, "no new life begins");
    let done = opened.append(&[delivery(2, &[of(0, 3, 0)])]).unwrap();
    assert_eq!((done.arrivals(), done.redelivered), (0, 1));
    let lives = copying
        .database
        .sql("SELECT string_agg(stream, ' ' ORDER BY id) FROM incarnations");
    assert_eq!(lives, "OTHER EVENTS");
    assert_eq!(opened.stats().stream, Some(("EVENTS".to_owned(), 1)));
}
