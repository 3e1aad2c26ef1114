//! `aggregator doctor`: what it finds, what it could not read, and what it never shows.

mod broker;
mod data_dir;
mod database;
mod service;

use std::{fs, path::Path};

use e2e::{
    System,
    broker::Broker,
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

async fn run(arguments: &[&str], token: Option<&str>, file: &Path) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(workspace::binary("aggregator"));
    command
        .arg("doctor")
        .args(arguments)
        .arg("--json")
        .arg(file)
        .current_dir(directory.path());
    if let Some(token) = token {
        command.env("AGGREGATOR_TOKEN", token);
    }
    Service::start("doctor", &mut command).ended(DEADLINE).await
}

async fn doctor(arguments: &[&str]) -> Examined {
    doctor_with(arguments, None).await
}

/// The same with a token in the environment.
async fn doctor_with(arguments: &[&str], token: Option<&str>) -> Examined {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("doctor.json");
    let ended = run(arguments, token, &file).await;
    let written = fs::read_to_string(&file).unwrap_or_else(|err| panic!("{err}: {}", ended.stderr));
    Examined {
        json: serde_json::from_str(&written).expect("it is JSON"),
        written,
        ended,
    }
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
async fn a_file_that_cannot_be_written_does_not_cost_the_report() {
    let here = ["--url", NOWHERE, "--nats-url", NO_BROKER];
    let ended = run(&here, None, Path::new("/nowhere/doctor.json")).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    let found = "no aggregator answers at http://127.0.0.1:9";
    assert!(ended.stdout.contains(found), "{}", ended.stdout);
    let said = "cannot write the report to /nowhere/doctor.json: No such file or directory";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
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
