//! Tests of the documents: their commands are run one after the other, as a reader would run them, and must print the
//! output shown below them.

mod blocks;
mod likeness;
mod links;
mod sandbox;
mod settings;
mod troubleshooting;
mod unit;

use std::{collections::BTreeSet, fs, path::Path};

use e2e::workspace;

use self::{
    blocks::{Block, blocks},
    likeness::without,
    sandbox::Sandbox,
};

/// Blocks that are not run: how they begin, and why.
const SKIPPED: &[(&str, &str)] = &[
    (
        "createuser ",
        "needs a database server; the tests store::shared have one",
    ),
    (
        "systemctl stop aggregator\nAGGREGATOR_STORE=",
        "needs a database server; the test store::copied has one",
    ),
    (
        "curl -sf 'http://127.0.0.1:8080/events?format=ndjson&order=asc' >",
        "needs a database server, and deletes the stream",
    ),
    (
        "/usr/bin/time -v aggregator store copy",
        "needs a database server, and a large store",
    ),
    ("./compose/demo.sh", "builds for minutes; CI runs it"),
    ("./compose/bench.sh", "measures for minutes; CI runs it"),
    ("compose/bench.sh", "measures for minutes; CI runs it"),
    ("cargo bench", "measures for minutes; CI runs it"),
    (
        "cargo test --workspace --bench",
        "measures for minutes; CI runs it",
    ),
    (
        "cargo build --release",
        "builds for minutes; the demo runs it",
    ),
    ("target/release/publisher http", "measures for a minute"),
    ("./tests/run.sh", "runs this test"),
    ("./tests/openapi.sh", "takes minutes; CI runs it"),
    ("./tests/faults.sh", "takes minutes; CI runs a short one"),
    ("tests/faults.sh", "takes minutes; CI runs a short one"),
    ("./tests/power.sh", "takes minutes; CI runs a short one"),
    ("tests/power.sh", "takes minutes; CI runs a short one"),
    ("./tests/fuzz.sh", "needs a nightly compiler"),
    ("cargo deny", "needs cargo-deny; a test runs it where it is"),
    ("python3 compose/sbom.py", "a test runs it"),
    ("docker compose", "needs Docker; CI runs the demo in it"),
    ("./compose/offline-images.sh", "needs Docker; CI runs it"),
    ("systemctl", "needs a system that systemd has booted"),
    ("# /etc/systemd/system", "systemd-analyze checks it"),
    (
        "[[token]]",
        "the tests of the tokens file read such entries",
    ),
    ("# prometheus.yml", "configures another program"),
    ("logs.example", "the tests of proxies start Caddy with it"),
    ("server {", "the tests of proxies start nginx with it"),
    ("backend aggregator", "configures an untested program"),
    (
        "# OpenTelemetry Collector",
        "configures an untested program",
    ),
    ("# Fluent Bit", "configures an untested program"),
    ("# Vector", "configures an untested program"),
];

/// Blocks whose commands do not end, and what they must print at some time, ignoring white space: a part of an event
/// that is published meanwhile, or of a sample.
const ENDLESS: &[(&str, &str)] = &[
    ("curl -sN http://127.0.0.1:8080/live", r#""received":"#),
    ("curl -sN 'http://127.0.0.1:8080/events/tail", r#""n":1"#),
    ("target/release/aggregator tail", r#""n":1"#),
];

/// Members that differ in each run, in any response; `at_most` is an estimate.
const VARIES: [&str; 12] = [
    "request_id",
    "at_most",
    "processed_at",
    "first_at",
    "last_at",
    "since",
    "next_cursor",
    "stream_sequence",
    "position",
    "uptime_seconds",
    "started_at",
    "disk",
];

/// Members that differ in each run in the response to a command that contains this text.
const VARIES_HERE: [(&str, &[&str]); 2] = [
    // The topics of the demo contain the name of its run.
    ("/stats", &["topics"]),
    // The time of the response, which elsewhere is that of an event.
    ("/health", &["timestamp"]),
];

/// A test for each document, with the minimum number of blocks that are run; and the list of all documents.
macro_rules! documents {
    ($($test:ident: $document:literal, $least:literal;)+) => {
        const DOCUMENTS: &[&str] = &[$($document),+];
        $(
            #[tokio::test]
            async fn $test() {
                commands_print_what_is_shown($document, $least).await;
            }
        )+
    };
}

documents! {
    the_commands_of_the_front_page_print_what_it_shows: "README.md", 2;
    the_commands_of_the_aggregator_print_what_is_shown: "aggregator/README.md", 20;
    the_command_line_of_the_aggregator_prints_what_is_shown: "aggregator/COMMANDS.md", 5;
    the_commands_of_the_architecture_print_what_is_shown: "aggregator/ARCHITECTURE.md", 0;
    the_commands_of_the_statements_print_what_is_shown: "aggregator/SQL.md", 0;
    the_commands_of_the_threat_model_print_what_is_shown: "aggregator/SECURITY.md", 0;
    the_commands_of_the_publisher_print_what_is_shown: "publisher/README.md", 2;
    the_commands_of_the_library_print_what_is_shown: "shared/README.md", 5;
    the_commands_of_the_deployment_print_what_is_shown: "compose/README.md", 1;
    the_commands_of_the_tests_print_what_is_shown: "tests/README.md", 0;
    the_commands_of_the_report_print_what_is_shown: "report.md", 0;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    Shell,
    Python,
    ShellUntilItPrints(&'static str),
    /// The output of a command, or a drawing.
    Shown,
    Skipped,
}

impl Treatment {
    fn of(block: &Block) -> Self {
        let begins = |start: &str| block.text.trim_start().starts_with(start);
        if SKIPPED.iter().any(|(start, _)| begins(start)) {
            return Self::Skipped;
        }
        let endless = ENDLESS.iter().find(|(start, _)| begins(start));
        match (block.language.as_str(), endless) {
            ("sh", Some((_, printed))) => Self::ShellUntilItPrints(printed),
            ("sh", None) => Self::Shell,
            ("python", _) => Self::Python,
            ("json" | "text", _) => Self::Shown,
            (language, _) => panic!(
                "{}: a block of {language} is neither run nor skipped for a reason",
                block.location()
            ),
        }
    }
}

fn document(name: &str) -> String {
    fs::read_to_string(workspace::root().join(name))
        .unwrap_or_else(|err| panic!("{name} cannot be read: {err}"))
}

async fn commands_print_what_is_shown(name: &str, least: usize) {
    let blocks: Vec<_> = blocks(name, &document(name))
        .into_iter()
        .map(|block| (Treatment::of(&block), block))
        .collect();
    let ran = blocks
        .iter()
        .filter(|(treatment, _)| !matches!(treatment, Treatment::Shown | Treatment::Skipped))
        .count();
    assert!(ran >= least, "{name}: only {ran} blocks are run");
    if ran == 0 {
        return;
    }
    let Some(sandbox) = Sandbox::create().await else {
        return;
    };
    for (index, (treatment, block)) in blocks.iter().enumerate() {
        let printed = match treatment {
            Treatment::Shell => sandbox.shell(block).await,
            Treatment::Python => sandbox.python(block).await,
            Treatment::ShellUntilItPrints(_) | Treatment::Shown | Treatment::Skipped => continue,
        };
        let shown = blocks.get(index + 1).map(|(_, next)| next);
        match shown.filter(|next| next.language == "json") {
            Some(shown) => {
                let mut members = VARIES.to_vec();
                for (part, more) in VARIES_HERE {
                    if block.text.contains(part) {
                        members.extend(more);
                    }
                }
                assert_eq!(
                    without(&members, printed.trim()),
                    without(&members, shown.text.trim()),
                    "{}, the response to\n{}",
                    shown.location(),
                    block.text
                );
            }
            None => assert!(
                !printed.contains(r#""type":"urn:problem"#),
                "{}: {}{printed}",
                block.location(),
                block.text
            ),
        }
        sandbox.settled().await;
    }
    // Last, because what is published meanwhile is in no response above.
    for (treatment, block) in &blocks {
        if let Treatment::ShellUntilItPrints(what) = treatment {
            sandbox.prints(block, what).await;
        }
    }
}

#[test]
fn each_exception_is_in_a_document() {
    let blocks: Vec<_> = DOCUMENTS
        .iter()
        .flat_map(|name| blocks(name, &document(name)))
        .collect();
    for (start, _) in SKIPPED.iter().chain(ENDLESS) {
        let found = blocks
            .iter()
            .any(|block| block.text.trim_start().starts_with(start));
        assert!(found, "no document has a block {start}");
    }
}

#[test]
fn each_document_is_tested() {
    let root = workspace::root();
    let directories = ["", "aggregator", "compose", "publisher", "shared", "tests"];
    let files = directories.iter().flat_map(|directory| {
        let entries = fs::read_dir(root.join(directory)).expect("it can be read");
        entries.map(|entry| entry.expect("it can be read").path())
    });
    let found: BTreeSet<_> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
        .map(|file| file.strip_prefix(&root).map(Path::to_owned).unwrap())
        .collect();
    let tested: BTreeSet<_> = DOCUMENTS
        .iter()
        .map(|name| Path::new(name).to_owned())
        .collect();
    assert_eq!(found, tested);
}
