//! Tails: events are sent to clients as they are stored.

use e2e::{
    System,
    aggregator::STOP_DEADLINE,
    event::{event, events},
    service::Signal,
    tail::{Message, Tail},
    wait::eventually,
};

/// A client further behind is sent the number of missed events instead.
const MAX_BEHIND: i64 = 10_000;

/// The last sequence.
async fn newest(system: &System) -> i64 {
    let stats = system.api().stats().await.unwrap();
    stats.unique_processed.try_into().unwrap()
}

#[tokio::test]
async fn events_are_sent_as_they_are_stored_from_the_position_given_at_the_start() {
    let system = System::start().await;
    let api = system.api();
    api.store(&events("orders", 0..5)).await;
    let mut tail = Tail::open(api, &[], None).await;
    assert_eq!(tail.position, 5);
    // Neither a duplicate nor a rejected arrival is sent.
    api.store(&events("orders", 4..6)).await;
    let payload = "{\n \"n\" : 1.50,\r\n \"s\": \"\u{2028}\\n\" }";
    let spread = event("payments", "spread").with_payload(payload);
    api.store(std::slice::from_ref(&spread)).await;
    let message = tail.message().await;
    assert_eq!((message.event_id(), message.id), ("id-5", 6));
    let message = tail.message().await;
    assert_eq!((message.event_id(), message.id), ("spread", 7));
    let found = api.get("/event?topic=payments&event_id=spread").await;
    assert_eq!(message.data, found.unwrap().json()["event"]);
}

#[tokio::test]
async fn only_the_requested_topics_are_sent() {
    let system = System::start().await;
    let api = system.api();
    let mut one = Tail::open(api, &["orders"], None).await;
    let mut two = Tail::open(api, &["orders", "refunds"], None).await;
    for number in 0..200 {
        let topic = ["payments", "orders", "refunds"][number as usize % 3];
        api.publish(&events(topic, number..number + 1)).await;
    }
    api.publish(&[event("orders", "end")]).await;
    for (tail, topics) in [
        (&mut one, &["orders"][..]),
        (&mut two, &["orders", "refunds"]),
    ] {
        let mut ids = Vec::new();
        loop {
            let message = tail.message().await;
            let topic = message.data["topic"].as_str().unwrap();
            assert!(topics.contains(&topic), "{message:?}");
            match message.event_id() {
                "end" => break,
                id => ids.push(id.to_owned()),
            }
        }
        let numbers = (0..200).filter(|number| {
            let topic = ["payments", "orders", "refunds"][number % 3];
            topics.contains(&topic)
        });
        let expected: Vec<_> = numbers.map(|number| format!("id-{number}")).collect();
        assert_eq!(ids, expected);
    }
}

#[tokio::test]
async fn only_events_whose_content_matches_are_sent() {
    let system = System::start().await;
    let api = system.api();
    let wanted = "/events/tail?topic=orders&source=shop&contains=%22ann%22&payload.user.name=ann";
    let mut tail = Tail::open_at(api, wanted).await;
    let mut by_id = Tail::open_at(api, "/events/tail?event_id=4").await;
    for tail in [&mut tail, &mut by_id] {
        assert_eq!(tail.message().await.kind, "start");
    }
    let ann = r#"{"user":{"name":"ann"}}"#;
    let bob = r#"{"user":{"name":"bob"},"by":"ann"}"#;
    let event =
        |topic, id, source, payload| event(topic, id).with_source(source).with_payload(payload);
    let sent = [
        event("orders", "1", "shop", bob),
        event("orders", "2", "shop", ann),
        event("orders", "3", "other", ann),
        event("refunds", "4", "shop", ann),
        event("orders", "5", "shop", ann),
    ];
    api.publish(&sent).await;
    for expected in ["2", "5"] {
        assert_eq!(tail.message().await.event_id(), expected);
    }
    assert_eq!(by_id.message().await.event_id(), "4");
    let refused = api.get("/events/tail?source=shop&latest=5").await.unwrap();
    assert_eq!(refused.status, 422, "{}", refused.text());
}

#[tokio::test]
async fn a_client_whose_search_finds_nothing_receives_its_position() {
    let system = System::start().await;
    let api = system.api();
    let mut tail = Tail::open_at(api, "/events/tail?source=shop").await;
    assert_eq!(tail.message().await.kind, "start");
    for part in 0..3 {
        api.publish(&events("orders", part * 5_000..(part + 1) * 5_000))
            .await;
    }
    let message = tail.message().await;
    assert_eq!(message.kind, "searched", "{message:?}");
    assert!((10_001..=15_000).contains(&message.id), "{message:?}");
    api.publish(&[event("orders", "found").with_source("shop")])
        .await;
    assert_eq!(tail.message().await.event_id(), "found");
}

#[tokio::test]
async fn a_client_that_reconnects_misses_nothing_and_gets_nothing_twice_across_kills() {
    let mut system = System::start().await;
    let publisher = system.endless_publisher();
    let mut tail = Tail::open(system.api(), &[], None).await;
    assert_eq!(tail.position, 0);
    // The events received: sequences and identities.
    let mut received = Vec::<Message>::new();
    for _ in 0..3 {
        let enough = received.len() + 700;
        while received.len() < enough {
            received.push(tail.message().await);
        }
        system.aggregator.kill();
        // Events already in transit count too.
        while let Ok(Some(more)) = tail.next().await {
            received.push(more);
        }
        system.aggregator.start_again().await;
        let last = received.last().unwrap().id;
        tail = Tail::open(system.api(), &[], Some(last)).await;
        assert_eq!(tail.position, last);
    }
    let run = publisher.finished().await;
    let [_, unique, _] = run.verified();
    let unique = usize::try_from(unique).unwrap();
    while received.len() < unique {
        received.push(tail.message().await);
    }
    for (event, sequence) in received.iter().zip(1..) {
        assert_eq!(event.id, sequence, "{event:?}");
    }
    let ids = received.iter().map(|event| event.event_id().to_owned());
    let sql = "SELECT event_id FROM events ORDER BY sequence";
    let stored = system.store().query(sql, |row| row.get::<_, String>(0));
    assert!(ids.eq(stored), "the events are those that are stored");
}

#[tokio::test]
async fn a_client_of_one_topic_that_reconnects_gets_the_events_in_between() {
    let mut system = System::start().await;
    system.api().store(&events("orders", 0..10)).await;
    let mut tail = Tail::open(system.api(), &["orders"], Some(0)).await;
    for number in 0..10 {
        assert_eq!(tail.message().await.event_id(), format!("id-{number}"));
    }
    drop(tail);
    system.api().store(&events("payments", 0..10)).await;
    system.api().store(&events("orders", 10..20)).await;
    assert_eq!(system.aggregator.stop().await.code, Some(0));
    system.aggregator.start_again().await;
    let mut tail = Tail::open(system.api(), &["orders"], Some(10)).await;
    system.aggregator.healthy().await;
    system.api().publish(&events("orders", 20..30)).await;
    for number in 10..30 {
        assert_eq!(tail.message().await.event_id(), format!("id-{number}"));
    }
    // An id from a store that had more events: it continues with new events.
    let ahead = newest(&system).await + 1_000;
    let tail = Tail::open(system.api(), &["orders"], Some(ahead)).await;
    assert_eq!(tail.position, newest(&system).await);
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_the_number_it_missed_and_delays_no_other() {
    const COUNT: i64 = 18_000;
    let system = System::start().await;
    let api = system.api();
    let mut stuck = Tail::open_narrow(api, "orders").await;
    let mut other = Tail::open(api, &["payments"], None).await;
    for part in 0..18 {
        let large = |number: i64| {
            let id = format!("id-{}", 1_000 * part + number);
            event("orders", &id).with_size(1_500)
        };
        let orders: Vec<_> = (0..1_000).map(large).collect();
        api.publish(&orders).await;
        // Of another topic, so not among those that it misses.
        api.publish(&[event("payments", &format!("id-{part}"))])
            .await;
        assert_eq!(other.message().await.event_id(), format!("id-{part}"));
    }
    let books = system.settled().await;
    assert_eq!(books.of("orders"), [18_000, 18_000, 0]);

    let mut read = 0;
    let missed = loop {
        let message = stuck.message().await;
        if message.kind == "missed" {
            break message;
        }
        assert_eq!(message.event_id(), format!("id-{read}"));
        read += 1;
    };
    let expected = COUNT - read;
    assert!(expected > MAX_BEHIND, "{read} arrived");
    assert_eq!(missed.data["missed"], expected, "{missed:?}");
    assert_eq!(missed.id, newest(&system).await);
    api.publish(&[event("orders", "newest")]).await;
    assert_eq!(stuck.message().await.event_id(), "newest");

    // A client that returns from far behind is sent the same; a client of few events misses none.
    let mut back = Tail::open(api, &["orders"], Some(0)).await;
    let message = back.message().await;
    assert_eq!(message.data["missed"], COUNT + 1, "{message:?}");
    let mut back = Tail::open(api, &["payments"], Some(0)).await;
    for number in 0..18 {
        assert_eq!(back.message().await.event_id(), format!("id-{number}"));
    }
}

#[tokio::test]
async fn a_tail_ends_gracefully_when_the_aggregator_stops() {
    let mut system = System::start().await;
    let mut tails = Vec::new();
    for _ in 0..10 {
        tails.push(Tail::open(system.api(), &[], None).await);
    }
    system.api().publish(&[event("orders", "1")]).await;
    for tail in &mut tails {
        assert_eq!(tail.message().await.event_id(), "1");
    }
    system.aggregator.service().signal(Signal::TERM);
    for tail in &mut tails {
        assert_eq!(tail.next().await, Ok(None), "the answer is whole");
    }
    let ended = system.aggregator.service().ended(STOP_DEADLINE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("still open"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_the_stop_no_longer_than_others() {
    let mut system = System::start().await;
    let stuck = Tail::open_narrow(system.api(), "orders").await;
    for part in 0..8 {
        let large = |number| {
            let id = format!("id-{}", 1_000 * part + number);
            event("orders", &id).with_size(1_500)
        };
        let orders: Vec<_> = (0..1_000).map(large).collect();
        system.api().publish(&orders).await;
    }
    system.settled().await;
    let ended = system.aggregator.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    drop(stuck);
    system.aggregator.start_again().await;
    assert_eq!(system.settled().await.counts(), [8_000, 8_000, 0]);
}

#[tokio::test]
async fn clients_that_disconnect_release_their_permits() {
    const PERMITS: usize = 256;
    let system = System::start().await;
    let api = system.api();
    let mut tails = Vec::new();
    for _ in 0..PERMITS {
        tails.push(Tail::open(api, &["orders"], None).await);
    }
    let refused = api.get("/events/tail").await.unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.json()["type"], "urn:problem:too-many-tails");
    let kept = tails.split_off(PERMITS - 1);
    drop(tails);
    eventually("permits are released", async || {
        Tail::try_open(api, &["orders"], None).await
    })
    .await;
    api.publish(&[event("orders", "1")]).await;
    for mut tail in kept {
        assert_eq!(tail.message().await.event_id(), "1");
    }
}

#[tokio::test]
async fn a_client_with_an_unknown_id_starts_with_the_newest_and_is_notified() {
    let system = System::start().await;
    let api = system.api();
    api.store(&events("orders", 0..3)).await;
    let url = format!("{}/events/tail", api.url());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for unknown in ["", "-1", "one", "4", "99999999999999999999"] {
        let request = client.get(&url).header("last-event-id", unknown);
        let mut answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{unknown}");
        let start = answer.chunk().await.unwrap().unwrap();
        let expected = "event: start\nid: 3\ndata: {\"unknown_last_event_id\":true}\n\n";
        assert_eq!(start, expected, "{unknown}");
    }
}
