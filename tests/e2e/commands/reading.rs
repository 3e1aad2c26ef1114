//! The publisher's commands that read from the aggregator.

use e2e::{
    System,
    event::{array, event, events},
    publisher::Publisher,
    service::Signal,
    wait::{DEADLINE, eventually, holds},
};
use serde_json::Value;

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

#[tokio::test]
async fn query_prints_all_matching_events_and_stats_prints_the_counts() {
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
    let run = Publisher::reading(url, &[&topic[..], &["--order", "asc"]].concat());
    let run = run.ended().await;
    run.succeeded();
    assert_eq!(ids(&lines(&run.output)), expected);
    expected.reverse();
    let run = Publisher::reading(url, &topic).ended().await;
    run.succeeded();
    assert_eq!(ids(&lines(&run.output)), expected);
    for (more, expected) in [
        (&["--payload", "user.name=ann"][..], &["spread"][..]),
        (&["--contains", "nowhere"], &[]),
        (&["--event-id", "id-7", "--since", "1h"], &["id-7"]),
        (&["--until", "1h"], &[]),
        (&["--time-since", "9999-12-31T23:59:59Z"], &[]),
        (&["--limit", "2"], &["spread", "id-2499"]),
    ] {
        let run = Publisher::reading(url, &[&topic[..], more].concat());
        let run = run.ended().await;
        run.succeeded();
        assert_eq!(ids(&lines(&run.output)), expected);
    }
    let run = Publisher::reading(url, &["stats"]).ended().await;
    run.succeeded();
    assert_eq!(run.output.lines().count(), 1, "{}", run.output);
    let counts = [run.count("received"), run.count("unique_processed")];
    assert_eq!(counts, [2_511, 2_511]);
}

#[tokio::test]
async fn commands_that_cannot_read_report_it_and_fail() {
    let mut system = System::start().await;
    let url = system.api().url().to_owned();
    system.aggregator.stop().await;
    for command in ["stats", "query", "tail"] {
        let run = Publisher::reading(&url, &[command]).ended().await;
        assert_eq!(run.code, Some(1), "{command}: {}", run.stderr);
        assert_eq!(run.output, "", "{command}");
        assert!(run.stderr.contains("error: "), "{command}: {}", run.stderr);
    }
}

#[tokio::test]
async fn tail_prints_new_events_and_loses_none_across_restarts_of_the_aggregator() {
    let mut system = System::start().await;
    system.api().store(&events("orders", 0..5)).await;
    let url = system.api().url().to_owned();
    let mut tail = Publisher::reading(&url, &["tail", "--topic", "orders"]);
    // It does not announce when it has started, so that shows in its output.
    let mut sent = 5;
    eventually("an event is printed", async || {
        system.api().store(&events("orders", sent..sent + 1)).await;
        sent += 1;
        holds(!tail.service().output().is_empty(), sent)
    })
    .await;
    let first = ids(&tail.service().output()).remove(0);
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
            let printed = tail.service().output().len();
            holds(printed >= count, printed)
        })
        .await;
        let expected: Vec<_> = (first..sent).map(|number| format!("id-{number}")).collect();
        assert_eq!(ids(&tail.service().output()), expected, "after {round}");
    }
    let log = tail.service().log().join("\n");
    assert!(log.contains("connected again"), "{log}");
    tail.service().signal(Signal::INT);
    let ended = tail.service().ended(DEADLINE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ids(&lines(&ended.stdout)).len(), (sent - first) as usize);
}
