//! What the README says is so: its commands are run one after the other, as somebody would who reads it, and what they
//! print is what stands below them.

mod blocks;
mod likeness;
mod place;
mod settings;

use e2e::workspace;

use self::{
    blocks::{Block, blocks},
    likeness::without,
    place::Place,
};

/// Blocks that are not run, by how they begin, and why.
const LEFT_OUT: [(&str, &str); 16] = [
    ("# prometheus.yml", "is for a program that is not at hand"),
    ("./compose/demo.sh", "builds for minutes; CI runs it"),
    ("./tests/run.sh", "is what runs this"),
    ("docker compose run", "needs the demo in Docker"),
    ("./compose/bench.sh", "measures for minutes; CI runs it"),
    ("cargo bench", "measures for minutes; CI runs it"),
    ("target/release/publisher http", "measures for a minute"),
    ("./tests/faults.sh", "takes minutes, and root; CI runs it"),
    (
        "# OpenTelemetry Collector",
        "the program is not at hand, as is said there",
    ),
    (
        "# Fluent Bit",
        "the program is not at hand, as is said there",
    ),
    (
        "location / {",
        "the tests behind nginx start it with these lines",
    ),
    ("logs.example {", "the program is not at hand"),
    ("backend aggregator", "the program is not at hand"),
    ("# Vector", "the program is not at hand, as is said there"),
    ("run xgiiw7pc", "is what the demo prints"),
    ("check ", "is what verify prints after damage by hand"),
];

/// Blocks whose commands do not end, and what they print at some time, white space left out: a part of the event that
/// is published meanwhile, or of a sample.
const ENDLESS: [(&str, &str); 3] = [
    ("curl -sN http://127.0.0.1:8080/live", r#""received":"#),
    ("curl -sN 'http://127.0.0.1:8080/events/tail", r#""n":1"#),
    ("target/release/publisher tail", r#""n":1"#),
];

/// Members that are others in each run, wherever they stand; `at_most` is an estimate.
const VARIES: [&str; 11] = [
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
];

/// Members that are others in each run in the answer to one command, known by a part of it.
const VARIES_HERE: [(&str, &[&str]); 2] = [
    // The topics of the demo have the name of a run.
    ("/stats", &["topics"]),
    // The time of the answer, which elsewhere is that of an event.
    ("/health", &["timestamp"]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    Run,
    RunUntilItPrints(&'static str),
    LeftOut,
}

fn treatment(block: &Block) -> Treatment {
    let begins = |start: &str| block.text.trim_start().starts_with(start);
    if LEFT_OUT.iter().any(|(start, _)| begins(start)) {
        return Treatment::LeftOut;
    }
    match ENDLESS.iter().find(|(start, _)| begins(start)) {
        Some((_, printed)) => Treatment::RunUntilItPrints(printed),
        None => Treatment::Run,
    }
}

fn readme() -> String {
    let path = workspace::root().join("README.md");
    std::fs::read_to_string(path).expect("the README can be read")
}

#[tokio::test]
async fn what_the_commands_of_the_readme_print_is_what_stands_below_them() {
    let Some(place) = Place::make().await else {
        return;
    };
    let blocks = blocks(&readme());
    let mut ran = 0;
    for (index, block) in blocks.iter().enumerate() {
        let treatment = treatment(block);
        if treatment == Treatment::LeftOut {
            continue;
        }
        let printed = match (block.language.as_str(), treatment) {
            // Those are run later. The others are what commands print, which is compared where they are run, and drawings.
            ("json" | "text", _) | ("sh", Treatment::RunUntilItPrints(_)) => continue,
            ("sh", _) => place.shell(block).await,
            ("python", _) => place.python(block).await,
            (language, _) => panic!(
                "README.md:{}: a block of {language} is neither run here nor left out for a reason",
                block.line
            ),
        };
        ran += 1;
        match blocks.get(index + 1).filter(|next| next.language == "json") {
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
                    "README.md:{}, the answer to\n{}",
                    shown.line,
                    block.text
                );
            }
            None => assert!(
                !printed.contains(r#""type":"urn:problem"#),
                "README.md:{}: {}{printed}",
                block.line,
                block.text
            ),
        }
        place.settled().await;
    }
    // Last, for what is published meanwhile is in no answer above.
    for block in &blocks {
        if let Treatment::RunUntilItPrints(what) = treatment(block) {
            place.prints(block, what).await;
        }
    }
    assert!(ran > 20, "of the README only {ran} blocks were run");
}

#[test]
fn each_block_that_is_left_out_is_in_the_readme() {
    let blocks = blocks(&readme());
    for (start, _) in LEFT_OUT.iter().chain(&ENDLESS) {
        let found = blocks
            .iter()
            .any(|block| block.text.trim_start().starts_with(start));
        assert!(found, "the README has no block {start}");
    }
}
