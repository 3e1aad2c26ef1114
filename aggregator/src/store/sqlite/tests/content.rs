//! Duplicates with the same content in another notation, and stored events that would be refused now.

use bytes::Bytes;
use shared::message;

use super::{
    harness::Store,
    verify::{check, compare, differences},
};
use crate::store::{Appended, Delivery, verify::Verdict};

fn event(timestamp: &str, payload: &str) -> String {
    format!(
        r#"{{"topic":"t0","event_id":"[\"/s\",\"1\"]","timestamp":"{timestamp}","source":"s","payload":{payload}}}"#
    )
}

fn delivery(sequence: u64, events: &[String]) -> Delivery {
    let bodies: Vec<_> = events.iter().cloned().map(Bytes::from).collect();
    let (subject, time) = ("events.t0".to_owned(), i64::try_from(sequence).unwrap());
    Delivery {
        senders: shared::publish::Senders::default(),
        arrivals: message::decode(&subject, &message::encode(&bodies, 0), time),
        subject,
        sequence,
        time,
    }
}

/// The same message as decoded by an earlier version, which rejected none of these events.
fn earlier(delivery: &Delivery) -> Delivery {
    let Delivery { subject, time, .. } = delivery;
    let arrivals = delivery.arrivals.iter().map(|arrival| match arrival {
        Ok(event) => Ok(event.clone()),
        Err(rejection) => Ok(rejection.earlier_event(subject, *time).unwrap()),
    });
    Delivery {
        arrivals: arrivals.collect(),
        ..delivery.clone()
    }
}

#[test]
fn a_rewritten_timestamp_is_no_conflict_and_the_first_text_is_kept() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let first = "2026-01-31T12:00:42.58Z";
    let at = |timestamp: &str| event(timestamp, "{}");
    let same = ["2026-01-31t13:00:42.5800000+01:00", first];
    let one_message = [
        at(first),
        at(same[0]),
        at("2026-01-31T12:00:42.580000000001Z"),
    ];
    let done = store.append(&[delivery(1, &one_message)]).unwrap();
    assert_eq!((done.unique, done.duplicates, done.conflicts), (1, 2, 1));
    let batch = [
        delivery(2, &[at(same[0])]),
        delivery(3, &[at(same[1])]),
        delivery(4, &[at("2026-01-31T12:00:42.58+01:00")]),
    ];
    let done = store.append(&batch).unwrap();
    assert_eq!((done.unique, done.duplicates, done.conflicts), (0, 3, 1));
    assert_eq!(store.page(None, None, 9).events[0].timestamp, first);

    store.close();
    let messages = [vec![delivery(1, &one_message)], batch.to_vec()].concat();
    let report = compare(&store, &messages, 4);
    assert_eq!(differences(&report), "");
    assert_eq!(check(&report, "received, from").verdict, Verdict::Ok);
}

#[test]
fn a_cloudevent_stored_by_an_earlier_version_is_recognized_as_a_duplicate() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let time = "2026-01-31T12:00:00Z";
    let with = |payload: &str| event(time, payload);
    let stored = with(r#"{"specversion":"1.0","n":5,"data":{"a": "h\u00e4"}}"#);
    let canonical = with(
        r#"{"specversion":"1.0","datacontenttype":"application/json","n":"5","data":{"a": "hä"}}"#,
    );
    let other = with(
        r#"{"specversion":"1.0","datacontenttype":"application/json","n":"5","data":{"a": "ha"}}"#,
    );
    store.append(&[delivery(1, &[stored])]).unwrap();
    let done = store.append(&[delivery(2, &[canonical, other])]).unwrap();
    assert_eq!((done.duplicates, done.conflicts), (2, 1));
}

#[test]
fn a_stored_message_whose_events_are_now_refused_remains_valid() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    let first = delivery(1, &[event("2026-01-31 12:00:00Z", &deep), "3".to_owned()]);
    assert!(first.arrivals.iter().all(Result::is_err));
    let as_stored = Delivery {
        arrivals: vec![
            earlier(&delivery(1, &[event("2026-01-31 12:00:00Z", &deep)]))
                .arrivals
                .remove(0),
            first.arrivals[1].clone(),
        ],
        ..first.clone()
    };
    store.append(std::slice::from_ref(&as_stored)).unwrap();
    assert_eq!(store.page(None, None, 9).events[0].payload, deep);
    let redelivered = Appended {
        redelivered: 1,
        ..Appended::default()
    };
    let again = store.append(std::slice::from_ref(&first)).unwrap();
    assert_eq!(again, redelivered);
    // The current rules apply to the next message.
    let next = delivery(2, &[event("2026-01-31 12:00:01Z", &deep)]);
    let done = store.append(std::slice::from_ref(&next)).unwrap();
    assert_eq!((done.unique, done.rejected), (0, 1));

    store.close();
    let report = compare(&store, &[first, next], 2);
    assert_eq!(differences(&report), "");
    assert_eq!(check(&report, "events, each").found, Some(1));
    assert_eq!(check(&report, "received, from").verdict, Verdict::Ok);
}

#[test]
fn conflicts_that_earlier_versions_counted_for_other_notations_are_no_difference() {
    let mut store = Store::new();
    store.meet(1, 1, 0);
    let messages = [
        delivery(1, &[event("2026-01-31T12:00:00Z", "{}")]),
        delivery(2, &[event("2026-01-31T12:00:00.0Z", "{}")]),
    ];
    store.append(&messages).unwrap();
    store.close();
    let recorded = |conflicts: u64| {
        let file = store.raw_connection();
        let sql = "UPDATE counters SET conflicts = ?1, conflicts_evicted = ?1";
        file.execute(sql, [conflicts]).unwrap();
        drop(file);
        differences(&compare(&store, &messages, 2))
    };
    assert_eq!(recorded(0), "");
    assert_eq!(recorded(1), "");
    assert!(recorded(2).contains("conflicts"));
}
