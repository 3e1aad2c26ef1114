//! `aggregator doctor`: what support would ask for, from a service, its broker and its store, as far as each can be
//! read. It changes nothing.

mod broker;
mod clocks;
mod data_dir;
mod database;
mod finding;
mod hide;
mod service;
mod text;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;
use shared::{
    api::Target,
    command_line,
    connection::{Files, Servers},
    stream,
};

use self::{
    broker::BrokerReport,
    clocks::{Clocks, Offset},
    data_dir::Directory,
    database::Database,
    finding::Finding,
    service::Service,
};
use crate::{
    clock,
    consumer::survey::Survey,
    machine::Machine,
    store::{Address, Record, SCHEMA_VERSION},
};

/// What is examined.
#[derive(Debug)]
pub struct Settings {
    /// The running aggregator.
    pub target: Target,
    /// The broker; by default that of the running aggregator, or the one on this machine.
    pub servers: Option<Servers>,
    /// The credentials and certificates for a broker that is not given.
    pub files: Files,
    /// The database with the store, if it is not in a directory.
    pub database: Option<Address>,
    /// The store's directory; by default that of the running aggregator, or `./data`.
    pub data_dir: Option<PathBuf>,
    /// The stream; by default that of the running aggregator.
    pub stream: Option<String>,
    /// The store's durable consumer; by default that of the running aggregator.
    pub durable: Option<String>,
    /// The file to which everything is written as JSON.
    pub json: Option<PathBuf>,
}

/// The broker if nothing else is known.
const BROKER: &str = "nats://127.0.0.1:4222";

/// The exit code if something needs attention.
const NEEDS_ATTENTION: u8 = 3;

/// Everything that was found. It contains no credentials once [`hide`] was applied to it.
#[derive(Debug, Serialize)]
struct Report {
    /// The version of this program.
    version: &'static str,
    /// The schema version of the stores that it reads.
    schema_version: i64,
    /// When it was made, in RFC 3339.
    at: String,
    findings: Vec<Finding>,
    /// The parts that could not be read, and why.
    not_read: BTreeMap<&'static str, String>,
    aggregator: Option<Service>,
    broker: Option<BrokerReport>,
    data_dir: Option<Directory>,
    database: Option<Database>,
    clocks: Clocks,
    /// The machine of this program.
    machine: Machine,
}

/// Examines what can be reached and prints what needs attention, then what was found. The exit code is 0 if nothing needs
/// attention, and 3 if something does.
///
/// # Errors
/// If the output or the file cannot be written; the file is written last.
pub async fn doctor(settings: Settings) -> anyhow::Result<ExitCode> {
    let json = settings.json.clone();
    let report = examine(settings).await;
    let text = hide::in_text(&text::of(&report));
    command_line::print(text).context("cannot print the report")?;
    if let Some(file) = json {
        let mut whole = serde_json::to_value(&report).context("cannot write the report as JSON")?;
        hide::in_value(&mut whole);
        let text = format!("{whole:#}\n");
        std::fs::write(&file, text)
            .with_context(|| format!("cannot write the report to {}", file.display()))?;
    }
    Ok(if report.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NEEDS_ATTENTION)
    })
}

async fn examine(settings: Settings) -> Report {
    let Settings {
        target,
        servers,
        files,
        database,
        data_dir,
        stream,
        durable,
        json: _,
    } = settings;
    let mut findings = Vec::new();
    let mut not_read = BTreeMap::new();
    let mut clocks = Clocks::default();

    let service = match ask(&target).await {
        Ok((service, reading)) => {
            clocks.aggregator = reading;
            findings.extend(service.findings());
            Some(service)
        }
        Err((finding, reason)) => {
            findings.push(finding);
            not_read.insert("aggregator", reason);
            None
        }
    };
    let known = |flag: &str, default: &str| {
        let known = service.as_ref().and_then(|service| service.setting(flag));
        known.unwrap_or(default).to_owned()
    };
    let stream = stream.unwrap_or_else(|| known("--stream", stream::DEFAULT_NAME));
    let durable = durable.unwrap_or_else(|| known("--durable", "aggregator"));

    // A running service may use a directory of another machine or of its container. It also knows more about its broker, which
    // may not be reachable from here or may require a login.
    let named_by = service.as_ref().filter(|_| data_dir.is_none());
    let database = match &database {
        Some(address) => Some(Database::read(address).await),
        None => None,
    };
    if let Some(database) = &database {
        findings.extend(database.findings());
    }
    let mut directory = None;
    if let Some(address) = named_by
        .and_then(Service::database)
        .filter(|_| database.is_none())
    {
        // It does not reveal the password.
        let reason = format!(
            "the store is in a database, {address}; give its address with --store or AGGREGATOR_STORE"
        );
        not_read.insert("database", reason);
    } else if database.is_none() {
        let path = data_dir.unwrap_or_else(|| known("--data-dir", "./data").into());
        match read_directory(&path, named_by) {
            Ok(found) => directory = Some(found),
            Err(reason) => {
                if named_by.is_none() {
                    let remedy = "give the directory of the store with --data-dir, or its database with --store";
                    findings.push(Finding::new("data_dir", reason.clone(), remedy));
                }
                not_read.insert("data_dir", reason);
            }
        }
    }
    if let Some(directory) = &directory {
        findings.extend(directory.findings(service.as_ref()));
    }

    let is_expected = servers.is_some() || !service.as_ref().is_some_and(Service::has_broker);
    let servers = servers.unwrap_or_else(|| {
        let known = Servers::with_files(&[known("--nats-url", BROKER)], &files);
        known.unwrap_or_else(|_| Servers::parse(&[BROKER]).expect("it is an address"))
    });
    let survey = Survey::of(&servers, &stream, &durable).await;
    let survey = survey.map_err(|reason| {
        if is_expected {
            let remedy = "check that nats-server runs there, or give its address and credentials with --nats-url";
            let problem = format!("the broker at {servers} cannot be used: {reason}");
            findings.push(Finding::new("broker", problem, remedy));
        }
        not_read.insert("broker", reason);
    });
    let survey = survey.ok();
    if let Some(survey) = &survey {
        let store = recorded(directory.as_ref(), database.as_ref(), survey);
        findings.extend(broker::findings(survey, &stream, &durable, store));
        clocks.broker = survey.clock.map(Into::into);
    }
    findings.extend(clocks.findings());
    Report {
        version: env!("CARGO_PKG_VERSION"),
        schema_version: SCHEMA_VERSION,
        at: clock::rfc3339(clock::now_micros()),
        findings,
        not_read,
        aggregator: service,
        broker: survey.map(Into::into),
        data_dir: directory,
        database,
        clocks,
        machine: Machine::this(),
    }
}

/// Asks the running service, and reads its clock; if it does not answer, that is a finding, and why.
async fn ask(target: &Target) -> Result<(Service, Option<Offset>), (Finding, String)> {
    let url = target.url().as_str().trim_end_matches('/').to_owned();
    let answer = Service::ask(&url, target).await;
    let answer = answer.map(|(service, reading)| (service, reading.map(Into::into)));
    answer.map_err(|reason| {
        let problem = format!("no aggregator answers at {url} ({reason})");
        let remedy = "start it, or give its address with --url";
        (Finding::new("aggregator", problem, remedy), reason)
    })
}

/// Reads the directory of a store: `named_by` a service, or by the user.
fn read_directory(path: &Path, named_by: Option<&Service>) -> Result<Directory, String> {
    let found = tokio::task::block_in_place(|| Directory::read(path))?;
    match named_by {
        Some(service) => found.used_by(service),
        None => Ok(found),
    }
}

/// What the store has recorded that was read, and whether an aggregator uses it. A database that replaces the durable's owner is not
/// compared with it.
fn recorded<'a>(
    directory: Option<&'a Directory>,
    database: Option<&'a Database>,
    survey: &Survey,
) -> Option<(&'a Record, bool)> {
    if let Some(found) = directory
        && let Some(record) = found.record()
    {
        return Some((record, found.in_use_by.is_some()));
    }
    let found = database.filter(|found| !found.replaces(survey.owner()))?;
    let aggregators = &found.store.as_ref()?.aggregators;
    Some((found.record()?, !aggregators.is_empty()))
}

/// A whole number of a JSON object.
fn number(object: &Value, name: &str) -> Option<u64> {
    object.get(name)?.as_u64()
}
