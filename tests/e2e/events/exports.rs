//! Exports: all events of a query in one response, one per line.

use std::{
    io::{self, Read},
    process::{Command, Stdio},
    time::Duration,
};

use e2e::{
    System,
    api::Api,
    event::{Event, event},
    wait::DEADLINE,
};
use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::spawn_blocking,
    time::timeout,
};

const LINES: &str = "application/x-ndjson";

/// More exports than there are permits for large responses.
const PERMITS: usize = 16;

/// Half the time after which the aggregator closes a connection that the client does not read.
const SOON: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
struct EventsPage<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    next_cursor: Option<String>,
}

fn sent() -> Vec<Event> {
    let payloads = [
        "{}",
        "{\n\t\"a\" : 1 ,\r\n  \"b\":[ 1,2\n, 3 ]\r}",
        r#"{"text":"two\nlines\r\nin a string","n":1.50}"#,
        "{\"separators\":\"\u{2028}\u{2029}\"}",
    ];
    let numbered = |(number, payload): (usize, &&str)| {
        let topic = ["orders", "payments", "refunds"][number % 3];
        event(topic, &format!("id-{number}")).with_payload(payload)
    };
    let payloads = payloads.iter().cycle().take(100);
    payloads.enumerate().map(numbered).collect()
}

/// The events of all pages of a query, as written in the responses.
async fn pages(api: &Api, query: &[(&str, &str)]) -> Vec<String> {
    let mut events = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let mut query = query.to_vec();
        query.push(("limit", "9"));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let answer = api.ask("/events", &query).await;
        let page: EventsPage<'_> = serde_json::from_str(answer.text()).unwrap();
        events.extend(page.events.iter().map(|event| event.get().to_owned()));
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return events,
        }
    }
}

#[tokio::test]
async fn an_export_has_the_events_of_all_pages_each_on_a_line_of_its_own() {
    let system = System::start().await;
    let api = system.api();
    api.publish(&sent()).await;
    system.settled().await;
    for query in [
        &[][..],
        &[("topic", "orders")],
        &[
            ("topic", "orders"),
            ("topic", "refunds"),
            ("order", "asc"),
            ("contains", "a"),
        ],
        &[("topic", "nothing")],
    ] {
        let pages = pages(api, query).await;
        // Line breaks occur only between tokens, where a space is equivalent.
        let lines = pages.iter().map(|event| event.replace(['\r', '\n'], " "));
        let expected: String = lines.map(|line| line + "\n").collect();
        let by_name = [query, &[("format", "ndjson")]].concat();
        for answer in [
            api.ask("/events", &by_name).await,
            api.ask_for(LINES, "/events", query).await,
            api.ask_for(
                "application/json;q=0.5, Application/X-NDJSON;q=0.9",
                "/events",
                query,
            )
            .await,
        ] {
            assert_eq!(answer.status, 200, "{query:?}: {}", answer.text());
            assert_eq!(answer.header("content-type"), LINES);
            assert_eq!(answer.text(), expected, "{query:?}");
        }
        for (page, line) in pages.iter().zip(expected.lines()) {
            let [page, line] =
                [page, line].map(|text| -> Value { serde_json::from_str(text).unwrap() });
            assert_eq!(page, line);
        }
    }
    // The format in the query takes precedence over the header.
    let query = [("format", "json")];
    let page = api.ask_for(LINES, "/events", &query).await;
    assert_eq!(page.json()["total"], 100, "{}", page.text());
}

#[tokio::test]
async fn an_export_continues_after_a_page_and_ends_at_its_limit() {
    let system = System::start().await;
    let api = system.api();
    api.publish(&sent()).await;
    system.settled().await;
    let all = api.ask("/events", &[("format", "ndjson")]).await;
    let all: Vec<_> = all.text().lines().collect();
    let page = api.ask("/events", &[("limit", "40")]).await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    for (more, expected) in [
        (vec![("cursor", cursor)], &all[40..]),
        (vec![("cursor", cursor), ("limit", "30")], &all[40..70]),
        (vec![("limit", "1")], &all[..1]),
        (vec![("limit", "5000")], &all[..]),
    ] {
        let query = [&more[..], &[("format", "ndjson")]].concat();
        let answer = api.ask("/events", &query).await;
        let lines: Vec<_> = answer.text().lines().collect();
        assert_eq!(lines, expected, "{more:?}");
    }
}

/// Starts an export over a separate connection, and reads only its beginning.
async fn started(system: &System) -> TcpStream {
    let mut connection = TcpStream::connect(system.api().address()).await.unwrap();
    let head = "GET /events?format=ndjson HTTP/1.1\r\nhost: localhost\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut part = [0; 15];
    let read = timeout(DEADLINE, connection.read_exact(&mut part)).await;
    read.expect("it begins in time").unwrap();
    assert_eq!(&part, b"HTTP/1.1 200 OK");
    connection
}

#[tokio::test]
async fn a_truncated_export_fails_and_clients_that_could_not_notice_are_refused() {
    let mut system = System::start().await;
    // More than systems buffer for a connection that is not read.
    for part in 0..12 {
        let large = |number: i32| {
            let id = format!("id-{}", 1_000 * part + number);
            event("orders", &id).with_size(2_000)
        };
        let events: Vec<_> = (0..1_000).map(large).collect();
        system.api().publish(&events).await;
    }
    system.settled().await;
    let url = format!("{}/events?format=ndjson", system.api().url());
    let curl = |version: &str| {
        Command::new("curl")
            .args(["--silent", "--fail", "--limit-rate", "100k", version, &url])
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl is installed")
    };
    let refused = curl("--http1.0");
    let refused = spawn_blocking(|| refused.wait_with_output()).await.unwrap();
    let refused = refused.unwrap();
    assert!(!refused.status.success() && refused.stdout.is_empty());

    let mut export = curl("--http1.1");
    let mut taken = export.stdout.take().unwrap();
    let begun = spawn_blocking(move || taken.read_exact(&mut [0; 1_000]).map(|()| taken));
    let begun = timeout(DEADLINE, begun).await.expect("it begins in time");
    let mut rest = begun.unwrap().unwrap();
    system.aggregator.kill();
    let ended =
        spawn_blocking(move || io::copy(&mut rest, &mut io::sink()).and_then(|_| export.wait()));
    let ended = timeout(DEADLINE, ended).await.expect("curl ends");
    let code = ended.unwrap().unwrap().code();
    assert_eq!(code, Some(18), "it knows that the end is missing");
}

#[tokio::test]
async fn exports_dropped_by_their_clients_take_nothing_from_the_others() {
    let system = System::start().await;
    // More than systems buffer for a connection that is not read.
    for part in 0..12 {
        let large = |number: i32| {
            let id = format!("id-{}", 1_000 * part + number);
            event("orders", &id).with_size(2_000)
        };
        let events: Vec<_> = (0..1_000).map(large).collect();
        system.api().publish(&events).await;
    }
    system.settled().await;
    for round in 1..=3 {
        let exports = join_all((0..PERMITS).map(|_| started(&system))).await;
        // An unread export does not delay ingest.
        let id = format!("late-{round}");
        let answer = system.api().store(&[event("late", &id)]).await;
        assert_eq!(answer.json()["outcome"], "stored", "{}", answer.text());
        // Nor does it delay a page request beyond the time after which its connection is closed.
        let page = timeout(SOON, system.api().events_of("orders")).await;
        assert_eq!(page.expect("a page in time").json()["total"], 12_000);
        drop(exports);
    }
    let query = [("topic", "orders"), ("format", "ndjson"), ("order", "asc")];
    let answer = system.api().ask("/events", &query).await;
    assert_eq!(answer.text().lines().count(), 12_000);
    system.aggregator.healthy().await;
}
