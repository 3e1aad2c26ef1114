//! The commands of the aggregator that read, against a running one.

use std::process::{Command, Stdio};

use e2e::{
    System,
    aggregator::reading,
    event::{array, event, events},
    service::{Ended, Signal},
    wait::{DEADLINE, eventually, holds},
    workspace,
};
use serde_json::Value;

use super::command_lines::on_a_terminal;

/// The ids of the printed events, one per line.
fn ids(lines: &[String]) -> Vec<String> {
    let parse = |line: &String| serde_json::from_str::<Value>(line).expect("a line is JSON");
    let events = lines.iter().map(parse);
    events
        .map(|event| event["event_id"].as_str().expect("an event").to_owned())
        .collect()
}

fn lines(output: &str) -> Vec<String> {
    output.lines().map(str::to_owned).collect()
}

/// Runs a command to its end.
async fn ended(url: &str, arguments: &[&str]) -> Ended {
    reading(url, arguments).ended(DEADLINE).await
}

/// The standard output of a command that must succeed and print nothing to standard error.
async fn printed(url: &str, arguments: &[&str]) -> String {
    let ended = ended(url, arguments).await;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(0), ""),
        "{arguments:?}"
    );
    ended.stdout
}

#[tokio::test]
async fn query_prints_all_matching_events() {
    let system = System::start().await;
    let url = system.api().url();
    let spread = event("orders", "spread").with_payload("{\n\"user\": {\"name\":\r\n\"ann\"}}");
    let mut all = events("orders", 0..2_500);
    all.push(spread);
    system.api().publish(&all).await;
    system.api().publish(&events("payments", 0..10)).await;
    system.settled().await;
    let mut expected: Vec<_> = all.iter().map(|event| event.event_id.clone()).collect();
    let topic = ["query", "--topic", "orders"];
    let ascending = printed(url, &[&topic[..], &["--order", "asc"]].concat()).await;
    assert_eq!(ids(&lines(&ascending)), expected);
    expected.reverse();
    assert_eq!(ids(&lines(&printed(url, &topic).await)), expected);
    for (more, expected) in [
        (&["--payload", "user.name=ann"][..], &["spread"][..]),
        (&["--contains", "nowhere"], &[]),
        (&["--event-id", "id-7", "--since", "1h"], &["id-7"]),
        (&["--until", "1h"], &[]),
        (&["--time-since", "9999-12-31T23:59:59Z"], &[]),
        (&["-n", "2"], &["spread", "id-2499"]),
        (&["-t", "payments", "--event-id", "id-9"], &["id-9", "id-9"]),
        (&["--source", "elsewhere"], &[]),
    ] {
        let printed = printed(url, &[&topic[..], more].concat()).await;
        assert_eq!(ids(&lines(&printed)), expected, "{more:?}");
    }
    // Over a page of the API.
    let many = printed(url, &["query", "-n", "1200"]).await;
    assert_eq!(many.lines().count(), 1_200);
}

#[tokio::test]
async fn each_command_prints_each_format_and_payloads_keep_their_bytes() {
    let system = System::start().await;
    let (api, url) = (system.api(), system.api().url());
    let exact = r#"{"n": 1.50,"big":12345678901234567890123,"s":"\ud83d\ude00"}"#;
    let orders = event("orders", "1").with_payload(exact);
    api.store(&[orders.clone(), event("refunds", "2"), orders])
        .await;
    system.settled().await;

    let events = api.get("/events?format=ndjson").await.unwrap();
    assert_eq!(printed(url, &["query"]).await, events.text().trim_end());
    let found = api.get("/event?topic=orders&event_id=1").await.unwrap();
    assert_eq!(printed(url, &["event", "orders", "1"]).await, found.text());
    let topics = printed(url, &["topics"]).await;
    let page = api.get("/topics").await.unwrap();
    let each: Vec<_> = topics.lines().collect();
    assert!(page.text().contains(&each.join(",")), "{topics}");
    let stats: Value = serde_json::from_str(&printed(url, &["stats"]).await).unwrap();
    assert_eq!(
        (&stats["received"], &stats["consistent"]),
        (&3.into(), &true.into())
    );

    for (arguments, json, table) in [
        (
            &["query", "-t", "orders"][..],
            "\n    \"n\": 1.50,\n    \"big\": 12345678901234567890123,\n    \"s\": \"\\ud83d\\ude00\"\n",
            "orders  1         e2e     {\"n\": 1.50,\"big\":12345678901234567890123",
        ),
        (
            &["event", "orders", "1"],
            "\n    \"event_id\": \"1\",",
            "\nduplicates     1\n",
        ),
        (
            &["topics"],
            "\n  \"topic\": \"refunds\",",
            "orders          2                 1                  1  50.0 %",
        ),
        (
            &["stats"],
            "\n  \"received\": 3,",
            "\nduplicate_dropped  1\n",
        ),
    ] {
        let pretty = printed(url, &[arguments, &["-o", "pretty"]].concat()).await;
        assert!(pretty.contains(json), "{arguments:?}: {pretty}");
        let shown = printed(url, &[arguments, &["--output", "table"]].concat()).await;
        // The share's column is aligned to its head.
        let shown = shown.replace("           50.0 %", "  50.0 %");
        assert!(shown.contains(table), "{arguments:?}: {shown}");
        let json = printed(url, &[arguments, &["-ojson"]].concat()).await;
        serde_json::from_str::<Value>(json.lines().next().unwrap()).unwrap();
    }
    let sums = printed(url, &["stats", "-o", "table"]).await;
    assert!(
        sums.contains("duplicate_dropped + rejected: exact"),
        "{sums}"
    );

    let line = format!(
        "{} query --url {url}",
        workspace::binary("aggregator").display()
    );
    let Some(shown) = on_a_terminal(&line, &[]) else {
        return;
    };
    assert!(shown.starts_with("processed_at "), "{shown}");
}

#[tokio::test]
async fn topics_can_be_searched_sorted_and_limited() {
    let system = System::start().await;
    let (api, url) = (system.api(), system.api().url());
    for (topic, count) in [("a", 1), ("b1", 3), ("b2", 2)] {
        api.publish(&events(topic, 0..count)).await;
    }
    system.settled().await;
    let names = async |arguments: &[&str]| {
        let printed = printed(url, &[&["topics"], arguments].concat()).await;
        let name = |line: &str| serde_json::from_str::<Value>(line).unwrap()["topic"].clone();
        printed.lines().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]).await, ["a", "b1", "b2"]);
    assert_eq!(names(&["--contains", "b"]).await, ["b1", "b2"]);
    assert_eq!(
        names(&["--sort", "received", "-n", "2"]).await,
        ["b1", "b2"]
    );
    assert_eq!(names(&["--order", "desc", "-n1"]).await, ["b2"]);
}

#[tokio::test]
async fn an_event_that_is_not_stored_is_an_error_in_one_sentence() {
    let system = System::start().await;
    let ended = ended(system.api().url(), &["event", "orders", "7"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(ended.stderr, "error: topic orders has no event 7 stored");
}

#[tokio::test]
async fn nothing_that_matches_is_said_to_people_and_not_to_programs() {
    let system = System::start().await;
    let url = system.api().url();
    assert_eq!(printed(url, &["query", "-t", "a,b"]).await, "");
    let shown = ended(url, &["query", "-t", "a,b", "-o", "table"]).await;
    assert_eq!((shown.code, shown.stdout.as_str()), (Some(0), ""));
    assert!(shown.stderr.contains("repeat --topic"), "{}", shown.stderr);
    let shown = ended(url, &["topics", "-o", "table"]).await;
    assert_eq!(
        (shown.code, shown.stderr.as_str()),
        (Some(0), "no topics match")
    );
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_a_command_quietly() {
    let system = System::start().await;
    system.api().publish(&events("orders", 0..5_000)).await;
    system.settled().await;
    for format in ["json", "pretty", "table"] {
        let script = format!(
            "set -o pipefail; {} query -o {format} | head -n 2",
            workspace::binary("aggregator").display()
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &script])
            .env("AGGREGATOR_URL", system.api().url())
            .stdin(Stdio::null());
        let ended = tokio::task::spawn_blocking(move || bash.output()).await;
        let ended = ended.unwrap().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{format}: {ended:?}");
        assert_eq!(String::from_utf8_lossy(&ended.stdout).lines().count(), 2);
        assert!(ended.stderr.is_empty(), "{format}: {ended:?}");
    }
}

#[tokio::test]
async fn commands_that_cannot_read_say_what_to_do_and_fail() {
    let mut system = System::start().await;
    let url = system.api().url().to_owned();
    system.aggregator.stop().await;
    for command in [
        &["stats"][..],
        &["query"],
        &["tail"],
        &["topics"],
        &["event", "orders", "1"],
    ] {
        let ended = ended(&url, command).await;
        assert_eq!(ended.code, Some(1), "{command:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{command:?}");
        let hint = "is the aggregator running there? --url or AGGREGATOR_URL sets its address";
        assert!(ended.stderr.contains(hint), "{command:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn the_publisher_still_has_the_commands_that_moved() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    system.settled().await;
    let publisher = async |arguments: &[&str]| {
        let mut command = Command::new(workspace::binary("publisher"));
        command.args(arguments).args(["--url", system.api().url()]);
        let mut running = e2e::service::Service::start("publisher", &mut command);
        running.ended(DEADLINE).await
    };
    let queried = publisher(&["query", "--topic", "orders", "--limit", "2"]).await;
    assert_eq!(ids(&lines(&queried.stdout)), ["id-2", "id-1"]);
    assert_eq!(
        queried.stderr,
        "this command has moved: use aggregator query"
    );
    let stats = publisher(&["stats"]).await;
    let stats: Value = serde_json::from_str(&stats.stdout).unwrap();
    assert_eq!(stats["unique_processed"], 3);
}

#[tokio::test]
async fn tail_prints_only_what_matches_and_ends_after_the_limit() {
    let system = System::start().await;
    let (api, url) = (system.api(), system.api().url());
    let arguments = [
        "tail",
        "-t",
        "orders",
        "--source",
        "shop",
        "--contains",
        "ann",
        "-n",
        "2",
    ];
    let mut tail = reading(url, &arguments);
    let mut sent = 0;
    // It does not announce when it has started, so that shows in its output.
    eventually("two events are printed", async || {
        let shop = event("orders", &format!("shop-{sent}")).with_source("shop");
        let ann = shop.clone().with_payload(r#"{"name":"ann"}"#);
        let other = event("orders", &format!("other-{sent}"));
        let bob = event("orders", &format!("bob-{sent}")).with_source("shop");
        api.store(&[ann, other, bob]).await;
        sent += 1;
        holds(!tail.is_running(), sent)
    })
    .await;
    let ended = tail.ended(DEADLINE).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let printed = ids(&lines(&ended.stdout));
    assert_eq!(printed.len(), 2);
    assert!(
        printed.iter().all(|id| id.starts_with("shop-")),
        "{printed:?}"
    );
}

#[tokio::test]
async fn tail_prints_new_events_and_loses_none_across_restarts_of_the_aggregator() {
    let mut system = System::start().await;
    system.api().store(&events("orders", 0..5)).await;
    let url = system.api().url().to_owned();
    let mut tail = reading(&url, &["tail", "--topic", "orders"]);
    // It does not announce when it has started, so that shows in its output.
    let mut sent = 5;
    eventually("an event is printed", async || {
        system.api().store(&events("orders", sent..sent + 1)).await;
        sent += 1;
        holds(!tail.output().is_empty(), sent)
    })
    .await;
    let first = ids(&tail.output()).remove(0);
    let first: u32 = first.trim_start_matches("id-").parse().unwrap();
    let jetstream = system.broker.jetstream().await;
    assert!(
        first >= 5,
        "only events that arrived after its start are printed"
    );
    for round in 0..3 {
        if round == 1 {
            assert_eq!(system.aggregator.stop().await.code, Some(0));
        } else {
            system.aggregator.kill();
        }
        // Stored as soon as the aggregator is back, before the reader has reconnected.
        let meanwhile = array(&events("orders", sent..sent + 50));
        let sending = jetstream.publish("events.orders", meanwhile.into()).await;
        sending.unwrap().await.unwrap();
        system.aggregator.start_again().await;
        system.aggregator.healthy().await;
        let more = [
            events("orders", sent + 50..sent + 60),
            events("payments", 0..5),
        ];
        system.api().publish(&more.concat()).await;
        sent += 60;
        let count = (sent - first) as usize;
        eventually("all is printed", async || {
            let printed = tail.output().len();
            holds(printed >= count, printed)
        })
        .await;
        let expected: Vec<_> = (first..sent).map(|number| format!("id-{number}")).collect();
        assert_eq!(ids(&tail.output()), expected, "after {round}");
    }
    let log = tail.log().join("\n");
    assert!(log.contains("connected again"), "{log}");
    tail.signal(Signal::INT);
    let ended = tail.ended(DEADLINE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ids(&lines(&ended.stdout)).len(), (sent - first) as usize);
}
