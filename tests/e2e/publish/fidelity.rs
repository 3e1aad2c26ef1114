//! Accepted events are returned as they were sent: the payload byte for byte, the timestamp as text. In line-framed
//! output CR and LF between tokens become spaces.

use e2e::{
    System,
    api::Answer,
    event::{Event, array, event},
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// JSON that a parser would print differently, or not at all.
const PAYLOADS: [&str; 16] = [
    "{}",
    "{ }",
    "{\n\t\"a\" : 1 ,\r\n  \"b\":[ 1,2 , 3 ]\n}",
    r#"{"n":123456789012345678901234567890123456789}"#,
    r#"{"n":0.1000000000000000055511151231257827,"m":-0,"k":-0.0}"#,
    r#"{"n":1.0,"m":1e5,"k":1E+05,"l":1.5e-300,"huge":1e400}"#,
    r#"{"a":1,"a":2,"a":{"a":3,"a":4}}"#,
    r#"{"s":"\u00e4\/\b\f\n\r\t\"\\"}"#,
    r#"{"s":"ä/€ 漢字 🦀 é"}"#,
    r#"{"pair":"\ud83e\udd80","nul":"\u0000","esc":"\u001b"}"#,
    "{\"line separators\":\"\u{2028}\u{2029}\",\"bom\":\"\u{feff}\",\"del\":\"\u{7f}\"}",
    r#"{"":{"":[[],[[]],{}]}}"#,
    r#"{"z":1,"y":2,"a":3,"A":4}"#,
    r#"{"payload":{"topic":"x","event_id":"y"},"events":[]}"#,
    r#"{"t":true,"f":false,"n":null}"#,
    r#"{"key \" with \\ escapes \u0041":1}"#,
];

const TIMESTAMPS: [&str; 8] = [
    "2026-01-31T12:00:00Z",
    "2026-01-31T12:00:00z",
    "2026-01-31t12:00:00.120Z",
    "2026-01-31T12:00:00.123456789+00:00",
    "2026-01-31T12:00:00-00:00",
    "2026-01-31T12:00:00.000000000000000000000001+05:30",
    "1969-12-31T23:59:59.9-11:00",
    "9999-12-31T23:59:59+23:59",
];

#[derive(Deserialize)]
struct StoredPage<'a> {
    #[serde(borrow)]
    events: Vec<Stored<'a>>,
}

#[derive(Deserialize)]
struct Stored<'a> {
    topic: String,
    event_id: String,
    source: String,
    timestamp: String,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// The events of a response, oldest first.
fn stored_events(answer: &Answer) -> Vec<Event> {
    let page: StoredPage<'_> = serde_json::from_str(answer.text()).unwrap();
    let events = page.events.into_iter().rev();
    events
        .map(|stored| Event {
            topic: stored.topic,
            event_id: stored.event_id,
            timestamp: stored.timestamp,
            source: stored.source,
            payload: stored.payload.get().to_owned(),
        })
        .collect()
}

fn delicate() -> Vec<Event> {
    let numbered = |(number, payload): (usize, &&str)| {
        event("delicate", &format!("payload-{number:02}")).with_payload(payload)
    };
    let timed = |(number, timestamp): (usize, &&str)| {
        event("delicate", &format!("time-{number:02}")).with_timestamp(timestamp)
    };
    let payloads = PAYLOADS.iter().enumerate().map(numbered);
    payloads
        .chain(TIMESTAMPS.iter().enumerate().map(timed))
        .collect()
}

#[tokio::test]
async fn payload_bytes_and_timestamp_text_are_returned_as_sent_over_http() {
    let system = System::start().await;
    let sent = delicate();
    // White space between the events of the request, which is not part of any payload.
    let body = array(&sent).replace("},{\"topic\"", "}\n ,\n\t{\"topic\"");
    let answer = system.api().post(body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    system.settled().await;
    assert_eq!(
        stored_events(&system.api().events_of("delicate").await),
        sent
    );

    // And once more, one by one: the same bytes are not a conflict.
    for event in &sent {
        system.api().publish(std::slice::from_ref(event)).await;
    }
    let books = system.settled().await;
    let count = sent.len() as u64;
    assert_eq!(books.counts(), [2 * count, count, count]);
    assert_eq!(books.stats.conflicts, 0);
}

#[tokio::test]
async fn payload_bytes_and_timestamp_text_are_returned_as_sent_from_a_file() {
    let system = System::start().await;
    let sent = delicate();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.json");
    std::fs::write(&file, array(&sent)).unwrap();
    let (file, url) = (file.to_str().unwrap(), system.api().url());
    let count = sent.len().to_string();
    let run = system
        .publish(&["send", file, "--verify", url, "--expect-unique", &count])
        .await;
    run.succeeded();
    let mut returned = stored_events(&system.api().events_of("delicate").await);
    returned.sort_by(|a, b| a.event_id.cmp(&b.event_id));
    assert_eq!(returned, sent);
}

#[tokio::test]
async fn names_of_any_characters_are_returned_as_sent() {
    let system = System::start().await;
    let names = [
        " ",
        "\t\n\r",
        "\u{0}",
        "\u{7f}",
        "\"quoted\" \\ back",
        "ä",
        "🦀",
        "\u{202e}right to left",
        "%00%",
        "a\u{0}b",
    ];
    let mut sent = Vec::new();
    for name in names {
        let mut event = event("names", name);
        name.clone_into(&mut event.source);
        sent.push(event);
    }
    let mut longest = event("names", &"é".repeat(127));
    longest.source = "x".repeat(255);
    sent.push(longest);
    system.api().publish(&sent).await;
    system.settled().await;
    assert_eq!(stored_events(&system.api().events_of("names").await), sent);
    system.api().publish(&sent).await;
    assert_eq!(system.settled().await.counts(), [22, 11, 11]);
}

#[tokio::test]
async fn processed_at_never_decreases_in_the_order_of_storage() {
    let system = System::start().await;
    for number in 0..20 {
        system
            .api()
            .publish(&[event("orders", &number.to_string())])
            .await;
    }
    system.settled().await;
    let page = system.api().events_of("orders").await.json();
    let times: Vec<_> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["processed_at"].as_str().unwrap())
        .collect();
    assert_eq!(times.len(), 20);
    assert!(
        times.is_sorted_by(|newer, older| newer >= older),
        "{times:?}"
    );
}
