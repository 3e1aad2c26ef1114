//! `aggregator doctor`: what it finds, what it could not read, and what it never shows.

use std::{collections::BTreeMap, fs, path::Path};

use async_nats::jetstream;
use e2e::{
    System,
    aggregator::Aggregator,
    broker::{Broker, Login},
    event::{array, event, events},
    service::{Ended, Service},
    wait::DEADLINE,
    workspace,
};
use serde_json::Value;

/// An address at which nothing listens.
const NOWHERE: &str = "http://127.0.0.1:9";
const NO_BROKER: &str = "nats://127.0.0.1:9";

/// What it printed, and what it wrote as JSON.
struct Examined {
    ended: Ended,
    json: Value,
    /// The JSON as it was written.
    written: String,
}

impl Examined {
    /// What needs attention, each with its part.
    fn findings(&self) -> Vec<String> {
        let findings = self.json["findings"].as_array().expect("a list").iter();
        let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
        findings
            .map(|finding| {
                assert!(!text(finding, "remedy").is_empty(), "{finding}");
                format!("{}: {}", text(finding, "part"), text(finding, "problem"))
            })
            .collect()
    }

    /// The one finding whose text contains this; the exit code and the text must agree.
    fn finds(&self, part: &str) -> String {
        let findings = self.findings();
        let found = findings.iter().find(|finding| finding.contains(part));
        let found = found.unwrap_or_else(|| panic!("no {part} in {findings:#?}"));
        assert_eq!(self.ended.code, Some(3), "{}", self.ended.stdout);
        let (_, problem) = found.split_once(": ").unwrap();
        assert!(self.ended.stdout.contains(problem), "{}", self.ended.stdout);
        found.clone()
    }

    fn finds_nothing(&self) {
        assert_eq!(self.findings(), Vec::<String>::new());
        assert_eq!(self.ended.code, Some(0), "{}", self.ended.stdout);
        let first = "Nothing needs attention.\n";
        assert!(
            self.ended.stdout.starts_with(first),
            "{}",
            self.ended.stdout
        );
    }
}

async fn doctor(arguments: &[&str]) -> Examined {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("doctor.json");
    let mut command = std::process::Command::new(workspace::binary("aggregator"));
    command
        .arg("doctor")
        .args(arguments)
        .arg("--json")
        .arg(&file)
        .current_dir(directory.path());
    let ended = Service::start("doctor", &mut command).ended(DEADLINE).await;
    let written = fs::read_to_string(&file).unwrap_or_else(|err| panic!("{err}: {}", ended.stderr));
    Examined {
        json: serde_json::from_str(&written).expect("it is JSON"),
        written,
        ended,
    }
}

/// The files of a directory with their sizes and contents' times.
fn state(directory: &Path) -> BTreeMap<String, (u64, std::time::SystemTime)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let entry = |entry: fs::DirEntry| {
        let found = entry.metadata().unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, (found.len(), found.modified().unwrap()))
    };
    entries.map(entry).collect()
}

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
async fn of_a_stopped_service_the_broker_and_the_store_are_read_and_not_changed() {
    let mut system = System::start().await;
    system.api().store(&events("orders", 0..10)).await;
    system.aggregator.stop().await;
    let data = system.data_dir().to_str().unwrap().to_owned();
    let (files, url) = (state(system.data_dir()), system.api().url().to_owned());
    let broker = system.broker.url();
    let here = ["--url", &url, "--nats-url", &broker, "--data-dir", &data];
    let examined = doctor(&here).await;
    let findings = examined.findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    let found = examined.finds("no aggregator answers");
    assert!(found.contains("Connection refused"), "{found}");
    assert_eq!(examined.json["aggregator"], Value::Null);
    assert!(examined.json["not_read"]["aggregator"].is_string());
    assert_eq!(examined.json["broker"]["stream"]["state"]["last_seq"], 1);
    let store = &examined.json["data_dir"]["store"]["record"];
    assert_eq!(store["unique_processed"], 10);
    assert_eq!(examined.json["data_dir"]["in_use_by"], Value::Null);
    assert_eq!(state(system.data_dir()), files, "it changes nothing");
    // Neither did it take the lock or the durable.
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
}

#[tokio::test]
async fn a_killed_store_is_read_with_the_commits_of_its_wal() {
    let mut system = System::start().await;
    system.api().store(&events("orders", 0..10)).await;
    system.aggregator.kill();
    let data = system.data_dir().to_str().unwrap();
    let examined = doctor(&[
        "--url",
        NOWHERE,
        "--nats-url",
        NO_BROKER,
        "--data-dir",
        data,
    ])
    .await;
    let store = &examined.json["data_dir"]["store"]["record"];
    assert_eq!(store["unique_processed"], 10, "{}", examined.written);
}

#[tokio::test]
async fn a_stopped_broker_is_reported_by_the_service_and_by_doctor_itself() {
    let mut system = System::start().await;
    system.api().store(&events("orders", 0..10)).await;
    let broker = system.broker.url();
    system.broker.stop().await;
    system.aggregator.unhealthy().await;
    let examined = doctor(&["--url", system.api().url()]).await;
    examined.finds("aggregator: broker: ");
    examined.finds(&format!(
        "the broker at {} cannot be used",
        broker.trim_start_matches("nats://")
    ));
    assert_eq!(examined.json["broker"], Value::Null);
    assert!(examined.json["not_read"]["broker"].is_string());
    let store = &examined.json["data_dir"]["store"]["record"];
    assert_eq!(store["unique_processed"], 10);
}

async fn change(system: &System, change: impl FnOnce(&mut jetstream::stream::Config)) {
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let mut config = stream.cached_info().config.clone();
    change(&mut config);
    jetstream.update_stream(config).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_would_lose_events_and_one_that_is_nearly_full_are_found() {
    let mut system =
        System::with(&["--stream-max-bytes", "2MiB", "--stream-keep-bytes", "1MiB"]).await;
    system.aggregator.stop().await;
    let large = |number: u32| event("orders", &number.to_string()).with_size(100 * 1024);
    for number in 0..19 {
        system.put("events.orders", &array(&[large(number)])).await;
    }
    change(&system, |config| {
        config.max_age = std::time::Duration::from_hours(1);
    })
    .await;
    let (broker, data) = (
        system.broker.url(),
        system.data_dir().to_str().unwrap().to_owned(),
    );
    let here = [
        "--url",
        system.api().url(),
        "--nats-url",
        &broker,
        "--data-dir",
        &data,
    ];
    let examined = doctor(&here).await;
    let found = examined.finds("has max_age");
    assert!(found.starts_with("broker: stream EVENTS"), "{found}");
    let found = examined.finds("% full");
    assert!(found.contains("19 of its messages"), "{found}");
}

#[tokio::test]
async fn a_missing_stream_and_a_directory_without_a_store_are_found() {
    let broker = Broker::start().await;
    let empty = tempfile::tempdir().unwrap();
    let directory = empty.path().to_str().unwrap();
    let examined = doctor(&[
        "--url",
        NOWHERE,
        "--nats-url",
        &broker.url(),
        "--data-dir",
        directory,
    ])
    .await;
    examined.finds("stream EVENTS cannot be read: it does not exist");
    examined.finds("there is no store in ");
    assert_eq!(
        fs::read_dir(directory).unwrap().count(),
        0,
        "it creates nothing"
    );

    let nowhere = format!("{directory}/nothing");
    let file = empty.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let noise = tempfile::tempdir().unwrap();
    fs::write(noise.path().join("aggregator.db"), "not a database").unwrap();
    for (wrong, said) in [
        (
            nowhere.as_str(),
            "cannot be read: No such file or directory",
        ),
        (file.to_str().unwrap(), "cannot be read: Not a directory"),
        (
            noise.path().to_str().unwrap(),
            "cannot be read: the database reports: file is not a database",
        ),
    ] {
        let examined = doctor(&[
            "--url",
            NOWHERE,
            "--nats-url",
            NO_BROKER,
            "--data-dir",
            wrong,
        ])
        .await;
        let found = examined.finds(said);
        assert!(found.starts_with("data_dir: "), "{found}");
        assert_eq!(found.matches("os error").count(), 0, "{found}");
        examined.finds("no aggregator answers at http://127.0.0.1:9");
        examined.finds("the broker at 127.0.0.1:9 cannot be used");
    }
}

#[tokio::test]
async fn the_durable_of_another_store_is_found() {
    let system = System::start().await;
    system.api().store(&events("orders", 0..3)).await;
    let other = tempfile::tempdir().unwrap();
    let data = other.path().to_str().unwrap();
    let flags = ["--durable", "other"];
    let second = Aggregator::start(&system.broker.url(), other.path(), &flags).await;
    second.healthy().await;
    let examined = doctor(&["--url", second.api().url(), "--durable", "aggregator"]).await;
    examined.finds("durable consumer aggregator belongs to another store");
    let examined = doctor(&["--url", second.api().url(), "--data-dir", data]).await;
    examined.finds_nothing();
}

#[tokio::test]
async fn rejected_arrivals_and_conflicts_are_things_to_look_at() {
    let system = System::start().await;
    system.api().store(&[event("orders", "1")]).await;
    let other = event("orders", "1").with_payload(r#"{"n":2}"#);
    system.api().store(&[other]).await;
    system.put("events.orders", "noise-that-is-private").await;
    system.settled().await;
    let examined = doctor(&["--url", system.api().url()]).await;
    examined.finds("1 rejected arrival to look at");
    examined.finds("1 conflict to look at");
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
async fn passwords_and_tokens_are_in_neither_output() {
    for (login, url) in [
        (
            Login::Password("ann", "s3cret-pass"),
            "nats://ann:s3cret-pass@",
        ),
        (Login::Token("s3cret-token"), "nats://s3cret-token@"),
    ] {
        let broker = Broker::demanding(login).await;
        let url = broker.url().replacen("nats://", url, 1);
        let data = tempfile::tempdir().unwrap();
        let aggregator = Aggregator::start(&url, data.path(), &[]).await;
        aggregator.healthy().await;
        let api = aggregator.api().url();
        let wrong = url.replace("s3cret", "s3cret-wrong");
        let with_login = api.replace("//", "//bob:s3cret-http@");
        for arguments in [
            &["--url", api][..],
            &["--url", api, "--nats-url", &url],
            &["--url", api, "--nats-url", &wrong],
            &["--url", &with_login, "--nats-url", &url],
        ] {
            let examined = doctor(arguments).await;
            let printed = [
                &examined.ended.stdout,
                &examined.ended.stderr,
                &examined.written,
            ];
            for text in printed {
                assert!(!text.contains("s3cret"), "{arguments:?}: {text}");
            }
            // Without credentials the broker is not read, although the service is connected to it.
            let is_read = arguments.contains(&url.as_str());
            assert_eq!(
                examined.json["broker"].is_object(),
                is_read,
                "{}",
                examined.written
            );
            if arguments.contains(&wrong.as_str()) {
                examined.finds("the broker refuses");
            } else {
                examined.finds_nothing();
            }
        }
    }
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
async fn the_json_has_the_members_that_the_document_names() {
    let document = fs::read_to_string(workspace::root().join("aggregator/COMMANDS.md")).unwrap();
    let (_, section) = document.split_once("\n## Doctor\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let named: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
    let system = System::start().await;
    let examined = doctor(&["--url", system.api().url()]).await;
    let members: Vec<_> = examined.json.as_object().unwrap().keys().collect();
    assert_eq!(members, named);
}
