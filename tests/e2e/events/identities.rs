//! `GET /event`: an event by its identity. `GET /duplicates`: the latest duplicates and the most repeated identities.

use e2e::{
    System,
    event::{Event, event, events},
};
use serde_json::{Value, json};

fn id(item: &Value) -> String {
    item["event_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_duplicates_of_one_event_are_exact_among_tens_of_thousands_and_after_restarts() {
    let mut system = System::start().await;
    let one = [event("orders", "one")];
    let others = events("payments", 0..4_000);
    let check = async |system: &System, times: u64| {
        let found = system.api().get("/event?topic=orders&event_id=one").await;
        let counts = found.unwrap().json()["duplicates"].clone();
        assert_eq!(counts, json!({"at_least": times, "at_most": times}));
    };
    for times in 0..3 {
        system.api().store(&one).await;
        check(&system, times).await;
    }
    for _ in 0..4 {
        system.api().store(&others).await;
    }
    check(&system, 2).await;
    system.aggregator.stop().await;
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
    check(&system, 2).await;
    system.api().store(&one).await;
    check(&system, 3).await;
    system.aggregator.kill();
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
    check(&system, 3).await;
}

#[tokio::test]
async fn one_event_is_found_by_its_identity_with_its_positions_and_its_duplicates() {
    let system = System::start().await;
    let api = system.api();
    let all = [events("orders", 0..4), events("payments", 4..9)].concat();
    let outcomes = api.store(&all).await.json();
    let find = async |event: &Event| {
        let query = [
            ("topic", event.topic.as_str()),
            ("event_id", &event.event_id),
        ];
        api.ask("/event", &query).await
    };
    for (event, outcome) in all.iter().zip(outcomes["outcomes"].as_array().unwrap()) {
        let found = find(event).await;
        assert_eq!(found.status, 200, "{}", found.text());
        assert!(found.text().contains(&event.payload), "{}", found.text());
        let found = found.json();
        assert_eq!(found["event"]["source"], event.source);
        assert_eq!(found["sequence"], outcome["sequence"], "{outcomes}");
        let sql = format!(
            "SELECT stream_sequence, position FROM events WHERE event_id = '{}'",
            event.event_id
        );
        let stored = system
            .store()
            .query(&sql, |row| Ok([row.get::<_, i64>(0)?, row.get(1)?]));
        let shown = ["stream_sequence", "position"].map(|name| found[name].as_i64().unwrap());
        assert_eq!(stored, [shown]);
        assert_eq!(found["duplicates"]["at_most"], 0, "{found}");
    }
    for times in 1..=3 {
        api.store(&all[..1]).await;
        let again = find(&all[0]).await.json()["duplicates"].clone();
        assert_eq!(again["at_least"], times, "{again}");
        assert_eq!(again["at_most"], times, "{again}");
    }
    assert_eq!(find(&all[1]).await.json()["duplicates"]["at_least"], 0);

    for absent in [
        event("orders", "absent"),
        event("payments", "id-0"),
        event("absent", "id-0"),
    ] {
        let answer = find(&absent).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()["type"], "urn:problem:not-found");
    }
    let incomplete = api.get("/event?topic=orders").await.unwrap();
    assert_eq!(incomplete.status, 422, "{}", incomplete.text());
    assert_eq!(incomplete.json()["errors"][0]["field"], "event_id");
}

#[tokio::test]
async fn the_latest_and_the_most_frequent_duplicates_are_listed_by_topic() {
    let mut system = System::start().await;
    let api = system.api();
    let orders = ["id-0", "id-3", "id-6"].map(|id| event("orders", id));
    let refund = event("refunds", "id-2");
    let known = [orders.to_vec(), vec![refund.clone()]].concat();
    api.store(&known).await;
    // The third order is repeated once, the second twice, the first never. The refund is repeated with another payload.
    for event in [&orders[1], &orders[2], &orders[1]] {
        api.store(std::slice::from_ref(&event.clone().with_source("again")))
            .await;
    }
    api.store(&[refund.with_payload("{}")]).await;
    let ask = async |topic: &str| {
        let answer = api.ask("/duplicates", &[("topic", topic)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let ids = |list: &Value| -> Vec<String> { list.as_array().unwrap().iter().map(id).collect() };

    let duplicates = ask("orders").await;
    assert_eq!(duplicates["total"], 3, "{duplicates}");
    assert_eq!(duplicates["filtered_by_topic"], "orders");
    assert_eq!(ids(&duplicates["recent"]), ["id-3", "id-6", "id-3"]);
    assert_eq!(duplicates["recent"][0]["source"], "again");
    assert_eq!(ids(&duplicates["often"]), ["id-3", "id-6"]);
    assert_eq!(duplicates["often"][0]["at_least"], 2);
    assert_eq!(duplicates["often"][1]["at_least"], 1);
    let duplicates = ask("refunds").await;
    assert_eq!(duplicates["total"], 1, "{duplicates}");
    assert_eq!(duplicates["recent"][0]["conflict"], true, "{duplicates}");
    let all = api.get("/duplicates?limit=2").await.unwrap().json();
    assert_eq!(all["total"], 4, "{all}");
    assert_eq!(ids(&all["recent"]), ["id-2", "id-3"]);
    let stored = api.get("/event?topic=orders&event_id=id-3").await.unwrap();
    let often = &all["often"][0];
    assert_eq!(often["stored_sequence"], stored.json()["sequence"]);

    // The lists are kept in memory and are empty after a restart; the counters persist.
    system.aggregator.kill();
    system.aggregator.start_again().await;
    let duplicates = system.api().get("/duplicates").await.unwrap().json();
    assert_eq!(duplicates["total"], 4, "{duplicates}");
    assert_eq!(duplicates["recent"], serde_json::json!([]), "{duplicates}");
}
