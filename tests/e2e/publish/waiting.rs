//! `?wait=stored`: the response is sent after COMMIT and has the outcome of each event.

use std::collections::BTreeMap;

use e2e::{
    System,
    api::{Answer, Api},
    event::{array, event, events},
    service::Signal,
    wait::{DEADLINE, eventually, holds},
};
use futures::future::join_all;
use serde_json::Value;

/// The outcomes of several events, each with the sequence of the stored event.
fn outcomes(answer: &Answer) -> Vec<(String, Option<i64>)> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let outcomes = answer["outcomes"].as_array().unwrap();
    assert_eq!(answer["received"], outcomes.len());
    let outcome = |outcome: &Value| {
        let name = outcome["outcome"].as_str().unwrap().to_owned();
        (name, outcome["sequence"].as_i64())
    };
    outcomes.iter().map(outcome).collect()
}

/// The sequence of a stored event.
async fn sequence(api: &Api, topic: &str, event_id: &str) -> i64 {
    let query = [("topic", topic), ("event_id", event_id)];
    let found = api.ask("/event", &query).await;
    assert_eq!(found.status, 200, "{}", found.text());
    found.json()["sequence"].as_i64().unwrap()
}

#[tokio::test]
async fn one_event_is_answered_with_its_outcome() {
    let system = System::start().await;
    let api = system.api();
    let event = event("orders", "1");
    for number in 1..=3 {
        api.store(&events("filler", number..number + 1)).await;
    }
    let one = std::slice::from_ref(&event);
    let first = api.store(one).await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.json()["outcome"], "stored");
    // Immediately, because the response waited for the COMMIT.
    let sequence = sequence(api, "orders", "1").await;
    assert_eq!(first.json()["sequence"], sequence);
    for _ in 0..3 {
        let again = api.store(one).await;
        assert_eq!(again.status, 200, "{}", again.text());
        assert_eq!(again.json()["outcome"], "duplicate");
        assert_eq!(again.json()["sequence"], sequence);
    }
    let other = api.store(&[event.with_payload(r#"{"n": 1}"#)]).await;
    assert_eq!(other.status, 422, "{}", other.text());
    assert_eq!(other.header("content-type"), "application/problem+json");
    assert_eq!(other.json()["type"], "urn:problem:conflict");
    let stored = format!("event {sequence} ");
    assert!(other.text().contains(&stored), "{}", other.text());
    assert_eq!(system.settled().await.of("orders"), [5, 1, 4]);
}

#[tokio::test]
async fn an_event_answered_as_stored_is_immediately_found_by_every_query() {
    let system = System::start().await;
    let api = system.api();
    let client = async |client: u32| {
        let topic = format!("client-{client}");
        for number in 0..60 {
            let answer = api.store(&events(&topic, number..number + 1)).await;
            let body = answer.json();
            assert_eq!(body["outcome"], "stored", "{body}");
            let id = format!("id-{number}");
            // This uses the dedup index, which is updated after the COMMIT.
            assert_eq!(body["sequence"], sequence(api, &topic, &id).await);
            let page = api.events_of(&topic).await.json();
            assert_eq!(page["total"], number + 1);
            assert_eq!(page["events"][0]["event_id"], id);
        }
    };
    join_all((0..8).map(client)).await;
}

/// One request with every kind of outcome.
async fn mixed(flags: &[&str]) {
    let system = System::with(flags).await;
    let api = system.api();
    let old = [event("orders", "old"), event("payments", "old")];
    let before = outcomes(&api.store(&old).await);
    let [order, payment] = [0, 1].map(|index: usize| before[index].1);
    let changed = |topic, id| event(topic, id).with_payload("{}");
    let answer = api
        .store(&[
            event("orders", "new"),
            event("payments", "old"),
            event("orders", "new"),
            changed("orders", "old"),
            event("payments", "new"),
            changed("orders", "new"),
            event("orders", "old"),
            changed("payments", "new"),
            event("refunds", "old"),
        ])
        .await;
    let new = Some(sequence(api, "orders", "new").await);
    let new_payment = Some(sequence(api, "payments", "new").await);
    let refund = Some(sequence(api, "refunds", "old").await);
    let expected = [
        ("stored", new),
        ("duplicate", payment),
        ("duplicate", new),
        ("conflict", order),
        ("stored", new_payment),
        ("conflict", new),
        ("duplicate", order),
        ("conflict", new_payment),
        ("stored", refund),
    ];
    let expected = expected.map(|(name, sequence)| (name.to_owned(), sequence));
    assert_eq!(outcomes(&answer), expected);
    let books = system.settled().await;
    assert_eq!((books.counts(), books.stats.conflicts), ([11, 5, 6], 3));
}

#[tokio::test]
async fn each_event_of_a_request_is_answered_with_its_outcome() {
    mixed(&[]).await;
}

#[tokio::test]
async fn each_event_of_a_request_that_is_applied_in_many_batches_is_answered() {
    mixed(&["--batch-events", "1", "--batch-wait-ms", "0"]).await;
}

#[tokio::test]
async fn a_request_with_the_maximum_of_events_is_answered_in_its_order() {
    let system = System::start().await;
    let api = system.api();
    let mut all = events("orders", 0..5_000);
    all.extend(events("payments", 0..4_000));
    all.extend(events("orders", 0..1_000));
    let outcomes = outcomes(&api.store(&all).await);
    let sql = "SELECT name || event_id, sequence FROM events JOIN topics ON topics.id = topic_id";
    let stored = system
        .store()
        .query(sql, |row| Ok((row.get::<_, String>(0)?, row.get(1)?)));
    let stored: BTreeMap<_, i64> = stored.into_iter().collect();
    assert_eq!(stored.len(), 9_000);
    for (index, (event, outcome)) in all.iter().zip(outcomes).enumerate() {
        let name = if index < 9_000 { "stored" } else { "duplicate" };
        let sequence = stored[&format!("{}{}", event.topic, event.event_id)];
        assert_eq!(outcome, (name.to_owned(), Some(sequence)), "event {index}");
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_stored_in_time_is_pending_and_stored_later() {
    let system = System::start().await;
    let api = system.api();
    api.store(&events("orders", 0..1)).await;
    let lock = system.store().lock();
    let path = "/publish?wait=stored&wait_ms=500";
    let one = api.post_to(path, event("orders", "id-1").json()).await;
    assert_eq!(one.status, 202, "{}", one.text());
    assert_eq!(one.json()["outcome"], "pending");
    assert!(one.json()["sequence"].is_null(), "{}", one.text());
    let several = api.post_to(path, array(&events("orders", 0..3))).await;
    let pending = ("pending".to_owned(), None);
    assert_eq!(outcomes(&several), vec![pending; 3]);
    drop(lock);
    assert_eq!(system.settled().await.counts(), [5, 3, 2]);
    let again = outcomes(&api.store(&events("orders", 0..3)).await);
    for (number, outcome) in again.into_iter().enumerate() {
        let sequence = sequence(api, "orders", &format!("id-{number}")).await;
        assert_eq!(outcome, ("duplicate".to_owned(), Some(sequence)));
    }
}

#[tokio::test]
async fn a_request_that_waits_longer_than_the_store_is_locked_gets_the_outcome() {
    let system = System::start().await;
    let api = system.api();
    api.store(&events("orders", 0..1)).await;
    let lock = system.store().lock();
    let all = events("orders", 0..3);
    let unlocked = async {
        system.aggregator.unhealthy().await;
        drop(lock);
    };
    let (answer, ()) = tokio::join!(api.store(&all), unlocked);
    let names: Vec<_> = outcomes(&answer)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["duplicate", "stored", "stored"]);
    assert_eq!(system.settled().await.counts(), [4, 3, 1]);
}

#[tokio::test]
async fn of_many_concurrent_requests_with_one_identity_exactly_one_is_stored() {
    let system = System::start().await;
    let api = system.api();
    for round in 0..5 {
        let id = format!("id-{round}");
        let [same, other] = [r#"{"n":1}"#, r#"{"n":2}"#]
            .map(|payload| [event("orders", &id).with_payload(payload)]);
        let requests = (0..60).map(|number| {
            let events = if number % 3 == 0 { &other } else { &same };
            api.store(events)
        });
        let answers = join_all(requests).await;
        let sequence = sequence(api, "orders", &id).await;
        let stored =
            |answer: &&Answer| answer.status == 200 && answer.json()["outcome"] == "stored";
        assert_eq!(answers.iter().filter(stored).count(), 1);
        let winner = answers.iter().position(|answer| stored(&answer)).unwrap();
        for (number, answer) in answers.iter().enumerate() {
            let body = answer.json();
            if number % 3 == 0 && winner % 3 == 0 || number % 3 != 0 && winner % 3 != 0 {
                let name = if number == winner {
                    "stored"
                } else {
                    "duplicate"
                };
                assert_eq!(
                    (&body["outcome"], answer.status),
                    (&name.into(), 200),
                    "{body}"
                );
                assert_eq!(body["sequence"], sequence);
            } else {
                assert_eq!(answer.status, 422, "{body}");
                assert_eq!(body["type"], "urn:problem:conflict");
                let stored = format!("event {sequence} ");
                assert!(
                    body["detail"].as_str().unwrap().starts_with(&stored),
                    "{body}"
                );
            }
        }
    }
    assert_eq!(system.settled().await.counts(), [300, 5, 295]);
}

#[tokio::test]
async fn a_wait_ends_when_the_aggregator_stops() {
    let mut system = System::start().await;
    let api = system.api().clone();
    let lock = system.store().lock();
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let stopped = async {
        eventually("the event is in the stream", async || {
            let info = stream.get_info().await.map_err(|err| err.to_string())?;
            holds(info.state.messages == 1, info.state)
        })
        .await;
        system.aggregator.service().signal(Signal::TERM);
    };
    let all = events("orders", 0..1);
    let (answer, ()) = tokio::join!(api.store(&all), stopped);
    assert_eq!(answer.status, 202, "{}", answer.text());
    drop(lock);
    let ended = system.aggregator.service().ended(DEADLINE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    system.aggregator.start_again().await;
    assert_eq!(system.settled().await.counts(), [1, 1, 0]);
}

#[tokio::test]
async fn cloudevents_can_wait_in_all_their_modes() {
    let system = System::start().await;
    let api = system.api();
    let cloud = |id: u32, data: &str| {
        format!(
            r#"{{"specversion":"1.0","type":"order.made","source":"/shop","id":"{id}","time":"2026-01-31T12:00:00Z","datacontenttype":"application/json","data":{data}}}"#
        )
    };
    let path = "/cloudevents?wait=stored&wait_ms=30000";
    let structured = [("content-type", "application/cloudevents+json")];
    let first = api.post_with(path, &structured, cloud(1, "1.50")).await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.json()["outcome"], "stored");
    let stored = sequence(api, "order.made", r#"["/shop","1"]"#).await;
    assert_eq!(first.json()["sequence"], stored);

    // The same event in another mode is a duplicate of it.
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-type", "order.made"),
        ("ce-source", "/shop"),
        ("ce-id", "1"),
        ("ce-time", "2026-01-31T12:00:00Z"),
        ("content-type", "application/json"),
    ];
    let batched = [("content-type", "application/cloudevents-batch+json")];
    let batch = format!(
        "[{},{},{}]",
        cloud(1, "1.50"),
        cloud(2, "2"),
        cloud(1, "1.5")
    );
    let many = outcomes(&api.post_with(path, &batched, batch).await);
    let second = sequence(api, "order.made", r#"["/shop","2"]"#).await;
    let expected = [
        ("duplicate", stored),
        ("stored", second),
        ("conflict", stored),
    ];
    let expected = expected.map(|(name, sequence)| (name.to_owned(), Some(sequence)));
    assert_eq!(many, expected);
    let again = api.post_with(path, &structured, cloud(1, "1.50")).await;
    assert_eq!(again.json()["outcome"], "duplicate", "{}", again.text());
    let third = [&binary[..3], &[("ce-id", "3")], &binary[4..]].concat();
    for (headers, body, name, of) in [
        (&binary[..], "1.50", "duplicate", stored),
        (&third, "3", "stored", second + 1),
        (&third, "3", "duplicate", second + 1),
    ] {
        let answer = api.post_with(path, headers, body).await;
        assert_eq!(answer.json()["outcome"], name, "{}", answer.text());
        assert_eq!(answer.json()["sequence"], of, "{}", answer.text());
    }
    let empty = api.post_with(path, &batched, "[]").await;
    assert_eq!(
        (empty.status, empty.json()["received"].as_u64()),
        (200, Some(0))
    );
}
