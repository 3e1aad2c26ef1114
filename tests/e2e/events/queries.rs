//! Queries of stored events: filters, order and pages.

use std::{cell::Cell, ops::Range, time::Duration};

use e2e::{
    System,
    api::Api,
    event::{Event, event},
};
use futures::future::join_all;
use serde_json::Value;

type Query<'a> = [(&'a str, &'a str)];

/// Events that differ in every filterable field.
fn traffic(numbers: Range<usize>) -> Vec<Event> {
    let numbered = |number: usize| {
        let topic = ["orders", "payments", "refunds"][number % 3];
        let name = ["ann", "bob"][number / 2 % 2];
        let payload = format!(
            r#"{{"n": {}, "user": {{"name": "{name}"}}, "tags": ["t{}"], "note": "<{number}>"}}"#,
            number % 7,
            number % 5
        );
        event(topic, &format!("id-{number}"))
            .with_source(["shop", "till"][number / 5 % 2])
            .with_payload(&payload)
    };
    numbers.map(numbered).collect()
}

/// The stored identities, in the order of storage.
fn stored(system: &System) -> Vec<(String, String)> {
    let sql =
        "SELECT name, event_id FROM events JOIN topics ON topics.id = topic_id ORDER BY sequence";
    system
        .store()
        .query(sql, |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The ids of the events of all pages of a query, in the order returned.
async fn walk(api: &Api, query: &Query<'_>) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let mut query = query.to_vec();
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page = api.ask("/events", &query).await;
        assert_eq!(page.status, 200, "{query:?}: {}", page.text());
        let page = page.json();
        let events = page["events"].as_array().unwrap();
        ids.extend(events.iter().map(id));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return ids,
        }
    }
}

fn id(event: &Value) -> String {
    event["event_id"].as_str().unwrap().to_owned()
}

/// A query, and whether an event is expected in its result.
type Case<'a> = (&'a Query<'a>, fn(&Event) -> bool);

#[tokio::test]
async fn a_query_finds_exactly_the_matching_events_in_either_order() {
    let cases: [Case<'_>; 12] = [
        (&[], |_| true),
        (&[("topic", "orders")], |event| event.topic == "orders"),
        (&[("topic", "orders"), ("topic", "refunds")], |event| {
            event.topic != "payments"
        }),
        (&[("topic", "orders"), ("topic", "nothing")], |event| {
            event.topic == "orders"
        }),
        (&[("topic", "nothing")], |_| false),
        (&[("source", "till")], |event| event.source == "till"),
        (&[("source", "Till")], |_| false),
        (&[("contains", "<4")], |event| event.payload.contains("<4")),
        (&[("payload.user.name", "ann")], |event| {
            event.payload.contains("ann")
        }),
        (&[("payload.n", "3"), ("payload.tags.0", "t1")], |event| {
            event.payload.contains(r#""n": 3"#) && event.payload.contains("t1")
        }),
        (
            &[
                ("topic", "payments"),
                ("topic", "orders"),
                ("source", "shop"),
                ("payload.user.name", "bob"),
            ],
            |event| {
                event.topic != "refunds" && event.source == "shop" && event.payload.contains("bob")
            },
        ),
        (&[("payload.user", "ann")], |_| false),
    ];
    let system = System::start().await;
    let sent = traffic(0..120);
    system.api().publish(&sent).await;
    system.settled().await;
    let order = stored(&system);
    assert_eq!(order.len(), sent.len());
    for (query, is_asked_for) in cases {
        let is_asked_for = |id: &String| {
            let event = sent.iter().find(|event| event.event_id == *id);
            is_asked_for(event.unwrap())
        };
        let ids = order.iter().map(|(_, id)| id.clone());
        let mut expected: Vec<_> = ids.filter(is_asked_for).collect();
        for direction in ["asc", "desc"] {
            let mut query = query.to_vec();
            query.extend([("order", direction), ("limit", "7")]);
            let found = walk(system.api(), &query).await;
            assert_eq!(found, expected, "{query:?}");
            let first = system.api().ask("/events", &query).await.json();
            let total = &first["total"];
            assert!(total.is_null() || *total == expected.len(), "{first}");
            expected.reverse();
        }
    }
}

#[tokio::test]
async fn a_query_by_storage_time_includes_the_lower_and_excludes_the_upper_bound() {
    let system = System::start().await;
    let api = system.api();
    let mut begins = Vec::new();
    for round in 0..3 {
        let answer = api.store(&traffic(30 * round..30 * (round + 1))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let query = [("order", "asc"), ("limit", "1000")];
        let page = api.ask("/events", &query).await.json();
        let first = &page["events"][30 * round];
        begins.push(first["processed_at"].as_str().unwrap().to_owned());
    }
    let order: Vec<_> = stored(&system).into_iter().map(|(_, id)| id).collect();
    for (since, until, expected) in [
        (Some(1), None, 30..90),
        (None, Some(1), 0..30),
        (Some(1), Some(2), 30..60),
        (Some(0), Some(2), 0..60),
    ] {
        let time = |name, round: Option<usize>| round.map(|round| (name, begins[round].as_str()));
        let mut query = vec![("order", "asc"), ("limit", "4")];
        query.extend(time("since", since));
        query.extend(time("until", until));
        assert_eq!(walk(api, &query).await, order[expected], "{query:?}");
    }
    for since in [1, 2] {
        let query = [("since", &*begins[since]), ("until", &*begins[1])];
        assert_eq!(api.ask("/events", &query).await.status, 422, "{query:?}");
    }
    // The same instant in another time zone.
    let moment = begins[1].trim_end_matches('Z');
    let (head, minutes) = moment.split_at("2026-01-31T12".len());
    let (day, hour) = head.split_once('T').unwrap();
    let hour: u32 = hour.parse().unwrap();
    let there = if hour < 23 {
        format!("{day}T{:02}{minutes}+01:00", hour + 1)
    } else {
        format!("{day}T{:02}{minutes}-01:00", hour - 1)
    };
    let query = [("order", "asc"), ("since", there.as_str())];
    assert_eq!(walk(api, &query).await, order[30..]);
}

#[tokio::test]
async fn pages_walked_while_events_are_published_have_each_event_once() {
    let queries: [&Query<'_>; 6] = [
        &[("order", "asc")],
        &[("order", "desc")],
        &[("order", "asc"), ("topic", "orders")],
        &[("topic", "orders"), ("topic", "refunds"), ("order", "asc")],
        &[("topic", "refunds"), ("topic", "orders")],
        &[("topic", "orders"), ("contains", "<"), ("order", "asc")],
    ];
    let is_asked_for = |query: &Query<'_>, topic: &str| {
        let mut topics = query.iter().filter(|(name, _)| *name == "topic").peekable();
        topics.peek().is_none() || topics.any(|(_, named)| *named == topic)
    };
    let system = System::start().await;
    system.api().publish(&traffic(0..300)).await;
    system.settled().await;
    let before = stored(&system);

    let is_walked = Cell::new(false);
    let publishing = async {
        let mut sent = 300;
        // With an upper bound, so that readers in ascending order reach the end.
        while !is_walked.get() && sent < 3_000 {
            system.api().publish(&traffic(sent..sent + 30)).await;
            sent += 30;
        }
        sent
    };
    let walking = async {
        let walks = queries.map(|query| {
            let mut query = query.to_vec();
            query.push(("limit", "11"));
            let api = system.api();
            async move { walk(api, &query).await }
        });
        let walks = join_all(walks).await;
        is_walked.set(true);
        walks
    };
    let (sent, walks) = tokio::join!(publishing, walking);
    assert!(sent > 300, "events were published meanwhile");
    system.settled().await;

    let after = stored(&system);
    assert_eq!(after.len(), sent);
    for (query, mut ids) in queries.into_iter().zip(walks) {
        let of = |all: &[(String, String)]| -> Vec<String> {
            let asked = all.iter().filter(|(topic, _)| is_asked_for(query, topic));
            asked.map(|(_, id)| id.clone()).collect()
        };
        if !query.contains(&("order", "asc")) {
            ids.reverse();
        }
        assert!(ids.len() >= of(&before).len(), "{query:?}: {}", ids.len());
        // All events from the first on, in their order, up to some moment of the walk.
        assert_eq!(ids, of(&after)[..ids.len()], "{query:?}");
    }
}

#[tokio::test]
async fn a_cursor_of_another_query_is_refused() {
    let system = System::start().await;
    system.api().store(&traffic(0..30)).await;
    let query = [("topic", "orders"), ("limit", "3")];
    let page = system.api().ask("/events", &query).await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    for (topic, status) in [("orders", 200), ("refunds", 422)] {
        let query = [("topic", topic), ("cursor", cursor)];
        let answer = system.api().ask("/events", &query).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_query_with_few_matches_among_many_events_finds_them_all() {
    let system = System::start().await;
    for part in 0..5 {
        let events = traffic(10_000 * part..10_000 * (part + 1));
        system.api().publish(&events).await;
    }
    system.api().settled_within(Duration::from_mins(3)).await;
    // Pages end early with what they found; their cursors continue.
    let query = [("contains", "<49999>"), ("order", "asc"), ("limit", "1000")];
    assert_eq!(walk(system.api(), &query).await, ["id-49999"]);
    let query = [("payload.note", "<7>")];
    assert_eq!(walk(system.api(), &query).await, ["id-7"]);
}
