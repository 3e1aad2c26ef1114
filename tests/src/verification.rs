//! `aggregator verify`, run to its end.

use std::{path::Path, process::Command, time::Duration};

use serde_json::Value;

use crate::{service::Service, workspace};

/// More than any verification here takes on a slow machine.
const DEADLINE: Duration = Duration::from_mins(2);

/// How a verification ended.
#[derive(Debug)]
pub struct Verification {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its JSON report; null if there is none.
    pub report: Value,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `aggregator verify --data-dir DIRECTORY ARGUMENTS`.
pub async fn verify(directory: &Path, arguments: &[&str]) -> Verification {
    let mut command = Command::new(workspace::binary("aggregator"));
    command
        .arg("verify")
        .arg("--data-dir")
        .arg(directory)
        .args(arguments);
    let ended = Service::start("aggregator verify", &mut command)
        .ended(DEADLINE)
        .await;
    Verification {
        code: ended.code,
        report: serde_json::from_str(&ended.stdout).unwrap_or(Value::Null),
        stdout: ended.stdout,
        stderr: ended.stderr,
    }
}

impl Verification {
    /// Fails the test unless everything is consistent.
    pub fn proves(&self) {
        assert_eq!(self.code, Some(0), "{}\n{}", self.report, self.stderr);
        assert_eq!(self.report["consistent"], true, "{}", self.report);
        assert_eq!(
            self.report["differences"],
            serde_json::json!([]),
            "{}",
            self.report
        );
    }

    /// Fails the test unless a difference is found that contains this text.
    pub fn finds(&self, words: &str) {
        assert_eq!(
            self.code,
            Some(1),
            "{words}: {}\n{}",
            self.report,
            self.stderr
        );
        assert_eq!(self.report["consistent"], false, "{words}: {}", self.report);
        let differences = self.report["differences"].to_string().replace('\\', "");
        assert!(differences.contains(words), "{words}: {differences}");
    }

    /// A check, by the beginning of its name.
    pub fn check(&self, name: &str) -> &Value {
        let checks = self.report["checks"].as_array();
        let is_named = |check: &&Value| {
            check["name"]
                .as_str()
                .is_some_and(|is| is.starts_with(name))
        };
        let check = checks.and_then(|checks| checks.iter().find(is_named));
        check.unwrap_or_else(|| panic!("there is no check {name} in {}", self.report))
    }
}
