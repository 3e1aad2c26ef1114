//! The report for people: first what needs attention, then what was found.

use std::fmt::Write as _;

use bytesize::ByteSize;
use indicatif::HumanCount;
use serde_json::Value;

use super::{
    Report, broker::BrokerReport, clocks::Offset, data_dir::Directory, database::Database, number,
    service::Service,
};
use crate::{machine::Machine, store::Record};

/// Lines of the log that are shown; the JSON has all of them.
const LOG_LINES: usize = 10;

/// The report as text.
pub(super) fn of(report: &Report) -> String {
    let mut text = match report.findings.len() {
        0 => "Nothing needs attention.\n".to_owned(),
        1 => "1 thing needs attention:\n".to_owned(),
        many => format!("{many} things need attention:\n"),
    };
    for (number, finding) in (1..).zip(&report.findings) {
        line(&mut text, &format!("\n{number}. {}", finding.problem));
        line(&mut text, &format!("   -> {}", finding.remedy));
    }
    text.push('\n');
    let mut found = Vec::new();
    if let Some(service) = &report.aggregator {
        found.extend(of_service(service));
    }
    if let Some(broker) = &report.broker {
        found.extend(of_broker(broker));
    }
    if let Some(directory) = &report.data_dir {
        found.extend(of_directory(directory));
    }
    if let Some(database) = &report.database {
        found.extend(of_database(database));
    }
    let clocks = [
        ("aggregator", report.clocks.aggregator),
        ("broker", report.clocks.broker),
    ];
    for (whose, offset) in clocks {
        if let Some(Offset {
            ahead_ms,
            within_ms,
        }) = offset
        {
            found.push((
                "clock",
                format!("that of the {whose} differs by {ahead_ms} ms (within {within_ms} ms)"),
            ));
        }
    }
    let of_service = report
        .aggregator
        .as_ref()
        .and_then(|service| service.diagnostics.as_ref());
    let machine = of_service.map_or(&report.machine, |diagnostics| &diagnostics.machine);
    found.push(("machine", of_machine(machine)));
    for (part, reason) in &report.not_read {
        found.push(("not read", format!("{part}: {reason}")));
    }
    for (name, what) in found {
        line(&mut text, &format!("{name:<11} {what}"));
    }
    let log = of_service.map_or(&[][..], |diagnostics| &diagnostics.log);
    if !log.is_empty() {
        text.push_str("\nLast log lines:\n");
        for shown in &log[log.len().saturating_sub(LOG_LINES)..] {
            line(&mut text, shown);
        }
    } else if of_service.is_none() {
        text.push_str("\nThe log is where the aggregator's standard error goes: journalctl, docker logs, or a file.\n");
    }
    text
}

/// Writing to a string cannot fail.
fn line(text: &mut String, line: &str) {
    let _ = writeln!(text, "{line}");
}

type Lines = Vec<(&'static str, String)>;

fn of_service(service: &Service) -> Lines {
    let status = service.health["status"].as_str().unwrap_or_default();
    let version = service
        .diagnostics
        .as_ref()
        .map(|found| format!("version {}, ", found.version));
    let mut lines = vec![(
        "aggregator",
        format!(
            "{}{status}, at {}",
            version.unwrap_or_default(),
            service.url
        ),
    )];
    if let Some(stats) = &service.stats {
        let count = |name| {
            number(stats, name).map_or_else(|| "?".to_owned(), |n| HumanCount(n).to_string())
        };
        lines.push((
            "events",
            format!(
                "{} received = {} stored + {} duplicates + {} rejected; conflicts: {}; messages pending: {}",
                count("received"),
                count("unique_processed"),
                count("duplicate_dropped"),
                count("rejected"),
                count("conflicts"),
                count("pending"),
            ),
        ));
    }
    if let Some(diagnostics) = &service.diagnostics {
        let set = diagnostics
            .settings
            .iter()
            .filter(|(_, value)| !value.is_empty());
        let set: Vec<_> = set.map(|(flag, value)| format!("{flag} {value}")).collect();
        lines.push(("settings", set.join(" ")));
    }
    lines
}

fn of_broker(broker: &BrokerReport) -> Lines {
    let version = broker.server["version"].as_str().unwrap_or_default();
    let mut lines = vec![(
        "broker",
        format!("nats-server {version} at {}", broker.servers),
    )];
    if let Some(stream) = &broker.stream {
        let (config, state) = (&stream["config"], &stream["state"]);
        lines.push((
            "stream",
            format!(
                "{}: {} messages, sequences {} to {}, {} of {}",
                config["name"].as_str().unwrap_or_default(),
                whole(state, "messages"),
                whole(state, "first_seq"),
                whole(state, "last_seq"),
                size(number(state, "bytes")),
                size(number(config, "max_bytes")),
            ),
        ));
    }
    if let Some(durable) = &broker.durable {
        lines.push((
            "durable",
            format!(
                "{}: acked up to {}, {} not acked, {} not delivered",
                durable["name"].as_str().unwrap_or_default(),
                whole(&durable["ack_floor"], "stream_seq"),
                whole(durable, "num_ack_pending"),
                whole(durable, "num_pending"),
            ),
        ));
    }
    lines
}

fn of_directory(directory: &Directory) -> Lines {
    let holder = directory.in_use_by.as_deref().unwrap_or("no process");
    let unread = directory.lock_error.as_ref().map(|err| format!(" ({err})"));
    let mut lines = vec![(
        "data",
        format!(
            "{}, held by {holder}{}",
            directory.path.display(),
            unread.unwrap_or_default()
        ),
    )];
    if let Some(record) = directory.record() {
        lines.push(of_record(record));
    }
    let files = directory.files.iter();
    let files: Vec<_> = files
        .map(|(name, bytes)| format!("{name} {}", ByteSize(*bytes)))
        .collect();
    lines.push(("files", files.join(", ")));
    if let Some(left) = &directory.left {
        lines.push((
            "left",
            format!(
                "{}, which SQLite created to read the WAL; delete it while no process uses the store",
                left.display()
            ),
        ));
    }
    let file_system = directory.file_system.as_ref().map(|found| {
        let place = if found.is_network { "network" } else { "local" };
        format!(" ({}, {place}, {})", found.kind, found.mounted_at)
    });
    lines.push((
        "disk",
        format!(
            "{} of {} free{}",
            size(directory.free_bytes),
            size(directory.total_bytes),
            file_system.unwrap_or_default()
        ),
    ));
    lines
}

fn of_database(database: &Database) -> Lines {
    let Some(store) = &database.store else {
        return vec![("database", format!("{}, not usable", database.address))];
    };
    let server = store.server_version.as_deref().unwrap_or("?");
    let schema = store.schema_version.map_or_else(
        || "no store".to_owned(),
        |version| format!("schema version {version}"),
    );
    let distributed = if store.is_distributed {
        ", distributed by Citus"
    } else {
        ""
    };
    let aggregators = match store.aggregators.as_slice() {
        [] => "no aggregator".to_owned(),
        names => names.join(", "),
    };
    let mut lines = vec![(
        "database",
        format!(
            "{}, server version {server}, {schema}{distributed}, used by {aggregators}",
            database.address
        ),
    )];
    lines.extend(database.record().map(of_record));
    lines
}

fn of_record(record: &Record) -> (&'static str, String) {
    let text = format!(
        "{} events of {} topics, applied up to sequence {}",
        HumanCount(record.unique_processed),
        record.topics,
        record.applied_floor
    );
    ("store", text)
}

fn of_machine(machine: &Machine) -> String {
    let limit = machine.memory_limit_bytes.map_or_else(
        || "no limit".to_owned(),
        |limit| format!("a limit of {}", ByteSize(limit)),
    );
    format!(
        "{}, {} CPUs, {} of memory with {limit}, {} used by the process",
        machine.system,
        machine
            .cpus
            .map_or_else(|| "?".to_owned(), |cpus| cpus.to_string()),
        size(machine.memory_bytes),
        size(machine.resident_bytes),
    )
}

fn whole(object: &Value, name: &str) -> String {
    number(object, name).map_or_else(|| "?".to_owned(), |n| HumanCount(n).to_string())
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), |bytes| ByteSize(bytes).to_string())
}
