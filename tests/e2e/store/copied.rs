//! A service that moves from a directory to a database, on the same stream.

use std::path::Path;

use e2e::{
    aggregator::Aggregator,
    api::Api,
    broker::Broker,
    database::Database,
    event::{array, event},
    publisher::Publisher,
};
use serde_json::Value;

/// The traffic of one run of the publisher, the same in each call with this id.
fn traffic(id: &str) -> Vec<&str> {
    let mut arguments = vec!["generate", "--count", "20000", "--duplicates", "0.3"];
    arguments.extend(["--batch", "500", "--run-id", id]);
    arguments
}

async fn get(api: &Api, path: &str) -> Value {
    let answer = api.get(path).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// The answer without the numbers that the engines give to rows.
async fn rows(api: &Api, path: &str, name: &str) -> Vec<Value> {
    let mut rows = get(api, path).await[name].as_array().unwrap().clone();
    for row in &mut rows {
        let row = row.as_object_mut().unwrap();
        for member in ["id", "sequence", "recent"] {
            row.remove(member);
        }
        if let Some(stored) = row.get_mut("stored").and_then(Value::as_object_mut) {
            stored.remove("sequence");
        }
    }
    rows
}

/// Answers that must be the same.
async fn answers(api: &Api) -> Vec<Vec<Value>> {
    let mut answers = Vec::new();
    for (path, name) in [
        ("/topics?limit=100", "topics"),
        ("/events?limit=1000", "events"),
        ("/events?topic=odd", "events"),
        ("/rejected", "rejected"),
        ("/conflicts", "conflicts"),
        ("/missing", "missing"),
    ] {
        let rows = rows(api, path, name).await;
        answers.push(rows);
    }
    answers
}

async fn started(broker: &Broker, data_dir: &Path, flags: &[&str]) -> Aggregator {
    Aggregator::start(&broker.url_of("aggregator"), data_dir, flags).await
}

#[tokio::test]
async fn a_service_continues_in_a_database_where_it_was() {
    let Some(database) = Database::new() else {
        return;
    };
    let broker = Broker::start().await;
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut directory = started(&broker, old.path(), &[]).await;
    directory.healthy().await;
    let api = directory.api().clone();
    let publish = async |arguments: &[&str]| {
        let publisher = Publisher::start(&broker.url_of("publisher"), arguments);
        publisher.ended().await
    };
    let verified = async |id: &str, api: &Api| {
        let mut arguments = traffic(id);
        arguments.extend(["--verify", api.url()]);
        assert_eq!(
            publish(&arguments).await.verified(),
            [20_000, 14_000, 6_000]
        );
    };
    verified("first", &api).await;
    let payload = r#"{ "a" : "\u0000 \ud83d\ude00","n":1.50}"#;
    let odd = event("odd", "1").with_payload(payload);
    let conflicting = event("odd", "1").with_payload(r#"{"a":2}"#);
    let answer = api.post(array(&[odd, conflicting])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let before = api.settled().await;
    let expected = answers(&api).await;
    let to = database.url();
    let copy = ["store", "copy", "--to", to.as_str()];
    let refused = directory.command(&copy).await;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("is in use by"),
        "{}",
        refused.stderr
    );
    directory.stop().await;
    let copied = directory.command(&copy).await;
    assert_eq!(copied.code, Some(0), "{}", copied.stderr);
    for part in [
        "14,001 events of 11 topics, 0 rejected arrivals and 1 conflicts; read back and compared",
        "stream EVENTS is applied up to sequence ",
    ] {
        assert!(copied.stdout.contains(part), "{part}: {}", copied.stdout);
    }
    assert!(!copied.stdout.contains("not copied"), "{}", copied.stdout);
    // Published while no service runs.
    let again = publish(&traffic("first")).await;
    assert_eq!(again.sent()[0], 20_000);
    let flags = ["--store", to.as_str()];
    let in_database = started(&broker, new.path(), &flags).await;
    in_database.healthy().await;
    let api = in_database.api();
    let after = api.settled().await;
    let [received, unique, duplicates] = before.counts();
    assert_eq!(
        after.counts(),
        [received + 20_000, unique, duplicates + 20_000]
    );
    assert_eq!((after.stats.redelivered, after.stats.missing), (0, 0));
    let one = api.get("/event?topic=odd&event_id=1").await.unwrap().json();
    assert_eq!(
        one["duplicates"],
        serde_json::json!({"at_least": 1, "at_most": 1})
    );
    let odd = api.get("/events?topic=odd").await.unwrap();
    assert!(odd.text().contains(payload), "{}", odd.text());
    // The newest events are still those of before: nothing was stored.
    let now = answers(api).await;
    assert_eq!(now[1..], expected[1..]);
    verified("second", api).await;
    // The service in the directory would take messages from the one in the database.
    let nats = broker.url_of("aggregator");
    let ended = Aggregator::refused(&nats, old.path(), &[]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("--take-over"), "{}", ended.stderr);
}
