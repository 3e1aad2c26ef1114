//! The running service: its counters, its settings and its log.

use e2e::{
    System,
    event::{event, events},
};
use serde_json::Value;

use super::{doctor, doctor_with};
use crate::network::tokens::token;

#[tokio::test]
async fn of_a_healthy_service_everything_is_read_and_nothing_needs_attention() {
    let system = System::start().await;
    system.api().store(&events("a.secret.topic", 0..10)).await;
    system.api().store(&events("a.secret.topic", 0..3)).await;
    system.settled().await;
    // The broker and the directory are those that the service uses.
    let examined = doctor(&["--url", system.api().url()]).await;
    examined.finds_nothing();
    let json = &examined.json;
    assert_eq!(json["not_read"], serde_json::json!({}));
    assert_eq!(json["aggregator"]["health"]["status"], "healthy");
    assert_eq!(json["aggregator"]["stats"]["unique_processed"], 10);
    let diagnostics = &json["aggregator"]["diagnostics"];
    assert_eq!(diagnostics["settings"]["--durable"], "aggregator");
    let log = diagnostics["log"].as_array().unwrap();
    let listening = |line: &Value| line.as_str().unwrap().contains("listening");
    assert!(log.iter().any(listening), "{log:?}");
    assert_eq!(json["broker"]["stream"]["config"]["name"], "EVENTS");
    assert_eq!(json["broker"]["durable"]["num_pending"], 0);
    let store = &json["data_dir"]["store"];
    assert_eq!(store["record"]["unique_processed"], 10);
    assert_eq!(store["schema_version"], diagnostics["schema_version"]);
    assert!(json["data_dir"]["files"]["aggregator.db"].as_u64() > Some(0));
    assert!(json["data_dir"]["free_bytes"].as_u64() > Some(0));
    assert_eq!(json["data_dir"]["file_system"]["is_network"], false);
    for clock in ["aggregator", "broker"] {
        assert!(json["clocks"][clock]["ahead_ms"].is_i64(), "{clock}");
    }
    assert!(json["machine"]["cpus"].as_u64() > Some(0));
    let process = format!("process id {}", diagnostics["process_id"]);
    for shown in ["10 stored", "3 duplicates", "nats-server 2.", &process] {
        let text = &examined.ended.stdout;
        assert!(text.contains(shown), "{shown} in {text}");
    }
    assert!(!examined.written.contains("a.secret.topic"));
    assert!(!examined.ended.stdout.contains("a.secret.topic"));
}

#[tokio::test]
async fn the_memory_given_is_shown_and_kept_to() {
    let system = System::with(&["--memory", "192MiB"]).await;
    for topic in ["a", "b", "c"] {
        system.api().store(&events(topic, 0..1_000)).await;
    }
    let examined = doctor(&["--url", system.api().url()]).await;
    examined.finds_nothing();
    let diagnostics = &examined.json["aggregator"]["diagnostics"];
    assert_eq!(diagnostics["settings"]["--memory"], "192.0 MiB");
    let resident = diagnostics["machine"]["resident_bytes"].as_u64();
    if cfg!(target_os = "linux") {
        let resident = resident.expect("Linux has /proc");
        assert!(resident < 192 << 20, "{resident}");
    }
}

#[tokio::test]
async fn rejected_arrivals_and_conflicts_are_things_to_review() {
    let system = System::start().await;
    system.api().store(&[event("orders", "1")]).await;
    let other = event("orders", "1").with_payload(r#"{"n":2}"#);
    system.api().store(&[other]).await;
    system.put("events.orders", "noise-that-is-private").await;
    system.settled().await;
    let examined = doctor(&["--url", system.api().url()]).await;
    examined.finds("1 rejected arrival to review");
    examined.finds("1 conflict to review");
    assert_eq!(examined.findings().len(), 2);
    // Once they have been seen, they need no attention.
    for kind in ["rejected", "conflicts"] {
        let path = format!("/{kind}/seen?up_to=1");
        let json = [("content-type", "application/json")];
        let seen = system.api().post_with(&path, &json, "").await;
        assert_eq!(seen.status, 200, "{}", seen.text());
    }
    doctor(&["--url", system.api().url()]).await.finds_nothing();
    assert!(!examined.written.contains("noise-that-is-private"));
}

#[tokio::test]
async fn the_last_log_lines_are_about_state_changes_and_leave_out_single_requests() {
    let mut system = System::with(&["--log-level", "warn,aggregator=debug,shared=info"]).await;
    system.api().store(&events("orders", 0..10)).await;
    system.broker.stop().await;
    system.aggregator.unhealthy().await;
    system.broker.start_again().await;
    system.aggregator.healthy().await;
    let log = system.aggregator.service().log();
    assert!(log.iter().any(|line| line.contains("answered")), "{log:?}");
    let examined = doctor(&["--url", system.api().url()]).await;
    let kept = &examined.json["aggregator"]["diagnostics"]["log"];
    let kept: Vec<_> = kept.as_array().unwrap().iter().collect();
    let has = |part: &str| {
        kept.iter()
            .any(|line| line.as_str().unwrap().contains(part))
    };
    assert!(has("connection to the broker lost"), "{kept:?}");
    assert!(!has("\"answered\"") && !has("DEBUG"), "{kept:?}");
    let last = kept.last().unwrap().as_str().unwrap();
    assert!(examined.ended.stdout.ends_with(last));
}

#[tokio::test]
async fn a_service_with_tokens_is_examined_with_one_and_otherwise_that_is_a_finding() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    let admin = token(&file, &["create", "admin", "--admin"]).await;
    let reader = token(&file, &["create", "reader", "--read", "*"]).await;
    let system = System::with(&["--tokens", file.to_str().unwrap()]).await;
    let arguments = ["--url", system.api().url()];
    for (token, found) in [
        (None, "the service asks for a token"),
        (Some("agg_wrong"), "the service refuses the token"),
        (Some(&*reader), "lacks the scope admin"),
    ] {
        doctor_with(&arguments, token).await.finds(found);
    }
    let examined = doctor_with(&arguments, Some(&admin)).await;
    examined.finds_nothing();
    assert!(!examined.written.contains(&admin));
}
