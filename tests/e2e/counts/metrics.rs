//! The metrics for Prometheus, and how to find a request in the log.
//!
//! `tests/run.sh` names Prometheus' own checker in `E2E_PROMTOOL` if it is available. Without it, that part prints
//! that it is skipped.

use std::{collections::BTreeMap, process::Stdio};

use e2e::{
    System,
    api::Api,
    books::Stats,
    event::{array, event, events},
    wait::{eventually, holds},
    workspace,
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

/// Metrics by name and labels, as written in the response.
struct Metrics {
    text: String,
    metrics: BTreeMap<String, f64>,
}

impl Metrics {
    async fn of(api: &Api) -> Self {
        let answer = api.get("/metrics").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4");
        let text = answer.text().to_owned();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let figure = |line: &str| {
            let (name, figure) = line.rsplit_once(' ').expect("a name and a figure");
            (name.to_owned(), figure.parse().expect("a number"))
        };
        let metrics = lines.map(figure).collect();
        Self { text, metrics }
    }

    fn has(&self, name: &str) -> bool {
        self.metrics.contains_key(name)
    }

    /// A metric that is a whole number.
    fn count(&self, name: &str) -> u64 {
        let figure = self.metrics.get(name);
        let figure = figure.unwrap_or_else(|| panic!("there is no {name} in {}", self.text));
        format!("{figure}").parse().expect("a whole number")
    }

    fn agree_with(&self, stats: &Stats) {
        for (name, count) in [
            ("events_total{outcome=\"stored\"}", stats.unique_processed),
            (
                "events_total{outcome=\"duplicate\"}",
                stats.duplicate_dropped,
            ),
            ("events_total{outcome=\"rejected\"}", stats.rejected),
            ("conflicts_total", stats.conflicts),
            ("redeliveries_total", stats.redelivered),
            ("pending_messages", stats.pending.expect("it is known")),
            ("missing_messages", stats.missing),
            ("stalls_total", stats.stalls),
            ("topics", stats.topics_total),
        ] {
            assert_eq!(self.count(&format!("aggregator_{name}")), count, "{name}");
        }
    }
}

/// Runs `promtool ARGUMENTS`, which must accept its input.
async fn promtool(arguments: &[&str], input: &str) -> Option<String> {
    let Some(promtool) = std::env::var_os("E2E_PROMTOOL") else {
        eprintln!("skipped: E2E_PROMTOOL is not set");
        return None;
    };
    let mut child = Command::new(promtool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("promtool can be started");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).await.expect("it reads");
    drop(stdin);
    let ended = child.wait_with_output().await.expect("it ends");
    let output = [ended.stdout, ended.stderr].concat();
    let output = String::from_utf8_lossy(&output).into_owned();
    assert!(ended.status.success(), "{output}");
    Some(output)
}

#[tokio::test]
async fn the_metrics_agree_with_stats_and_promtool_accepts_them() {
    let mut system = System::start().await;
    system.api().publish(&events("orders", 0..10)).await;
    system.api().publish(&events("orders", 6..12)).await;
    let conflict = event("orders", "id-0").with_payload("{}");
    system.api().publish(&[conflict]).await;
    let refused = system.api().post("[]").await;
    assert_eq!(refused.status, 422);
    let jetstream = system.broker.jetstream().await;
    let sent = jetstream.publish("events.orders", "noise".into()).await;
    sent.unwrap().await.unwrap();
    let stats = system.settled().await.stats;
    let found = [stats.unique_processed, stats.duplicate_dropped];
    assert_eq!(found, [12, 5]);
    assert_eq!([stats.rejected, stats.conflicts], [1, 1]);

    let metrics = Metrics::of(system.api()).await;
    metrics.agree_with(&stats);
    for (name, count) in [
        ("aggregator_messages_applied_total", 4),
        ("aggregator_applied_floor_sequence", 4),
        ("aggregator_stream_last_sequence", 4),
        ("aggregator_stream_messages", 4),
        ("aggregator_batch_messages_sum", 4),
        ("aggregator_batch_events_sum", 18),
        ("aggregator_puback_duration_seconds_count", 3),
        ("aggregator_commit_failures_total", 0),
        ("aggregator_unconfirmed_bytes", 0),
        ("aggregator_stream_max_bytes", 1 << 30),
        ("aggregator_part_healthy{part=\"broker\"}", 1),
        ("aggregator_part_healthy{part=\"consumer\"}", 1),
        (
            "aggregator_http_requests_total{route=\"/publish\",status=\"200\"}",
            3,
        ),
        (
            "aggregator_http_requests_total{route=\"/publish\",status=\"422\"}",
            1,
        ),
        (
            "aggregator_http_request_duration_seconds_count{route=\"/publish\"}",
            4,
        ),
    ] {
        assert_eq!(metrics.count(name), count, "{name} in {}", metrics.text);
    }
    let batches = metrics.count("aggregator_commit_duration_seconds_count");
    assert_eq!(batches, metrics.count("aggregator_batch_events_count"));
    assert!((1..=4).contains(&batches), "{batches}");
    for size in ["stream", "database", "wal", "index"] {
        let name = format!("aggregator_{size}_bytes");
        assert!(metrics.count(&name) > 0, "{name}");
    }
    assert!(metrics.count("process_resident_memory_bytes") > 1 << 20);
    assert!(!metrics.text.contains("orders"), "a topic is no label");
    // Some acks may be in flight for a moment after everything is applied.
    eventually("all is acked", async || {
        let metrics = Metrics::of(system.api()).await;
        let floor = metrics.count("aggregator_consumer_ack_floor_sequence");
        holds(floor == 4, floor)
    })
    .await;
    if let Some(said) = promtool(&["check", "metrics"], &metrics.text).await {
        assert_eq!(said, "");
    }

    // The store's counters survive a restart.
    system.aggregator.stop().await;
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
    let stats = system.settled().await.stats;
    let metrics = Metrics::of(system.api()).await;
    metrics.agree_with(&stats);
    assert_eq!(metrics.count("aggregator_messages_applied_total"), 0);
}

#[tokio::test]
async fn metrics_of_a_lost_broker_are_omitted_until_it_is_back() {
    let of_broker = ["aggregator_stream_bytes", "aggregator_pending_messages"];
    let healthy = "aggregator_part_healthy{part=\"broker\"}";
    let mut system = System::start().await;
    system.broker.kill().await;
    system.aggregator.unhealthy().await;
    let metrics = Metrics::of(system.api()).await;
    assert_eq!(metrics.count(healthy), 0);
    assert!(
        of_broker.iter().all(|name| !metrics.has(name)),
        "{}",
        metrics.text
    );
    system.broker.start_again().await;
    system.aggregator.healthy().await;
    let metrics = Metrics::of(system.api()).await;
    assert_eq!(metrics.count(healthy), 1);
    assert!(
        of_broker.iter().all(|name| metrics.has(name)),
        "{}",
        metrics.text
    );
    assert_eq!(metrics.count("aggregator_broker_connects_total"), 2);
}

#[tokio::test]
async fn alerts_fire_when_they_should_and_at_no_other_time() {
    for (verb, file) in [
        ("check", "compose/alerts.yml"),
        ("test", "tests/e2e/counts/metrics/alerts.yml"),
    ] {
        let file = workspace::root().join(file);
        let file = file.to_str().expect("a path of text");
        if let Some(said) = promtool(&[verb, "rules", file], "").await {
            assert!(said.contains("SUCCESS"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_request_is_found_in_the_log_by_the_id_of_its_response() {
    let mut system = System::with(&["--log-level", "warn,aggregator=debug"]).await;
    let api = system.api().clone();
    let body = array(&events("orders", 0..1));
    let json = ("content-type", "application/json");
    let given = [json, ("x-request-id", "from.a:sender_1")];
    let answer = api.post_with("/publish", &given, body).await;
    assert_eq!(answer.header("x-request-id"), "from.a:sender_1");
    let refused = api.post_with("/publish", &[json], "[").await;
    let fresh = refused.header("x-request-id").to_owned();
    assert_eq!(refused.json()["request_id"], *fresh);
    let last = refused.text().trim_end_matches('}');
    assert!(last.ends_with(&format!("\"request_id\":\"{fresh}\"")));
    let service = system.aggregator.service();
    for (id, status) in [("from.a:sender_1", 200), (&*fresh, 400)] {
        eventually("the request is in the log", async || {
            let log = service.log();
            let lines = log
                .iter()
                .filter_map(|line| serde_json::from_str(line).ok());
            let mut lines = lines.filter(|line: &Value| line["span"]["request.id"] == id);
            let line = lines.find(|line| line["message"] == "answered a request");
            let line = line.ok_or_else(|| log.join("\n"))?;
            assert_eq!(line["http.status"], status);
            assert_eq!(line["span"]["http.route"], "/publish");
            assert_eq!(line["span"]["http.method"], "POST");
            Ok(())
        })
        .await;
    }
}
