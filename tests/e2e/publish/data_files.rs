//! Real events from files, each file sent twice.

use std::{collections::BTreeMap, path::Path};

use e2e::{System, workspace};
use serde::Deserialize;

/// The expected counts of a file's events.
#[derive(Deserialize)]
struct Expected {
    received: u64,
    unique_processed: u64,
    duplicate_dropped: u64,
    unique_by_topic: BTreeMap<String, u64>,
}

#[tokio::test]
async fn each_data_file_is_counted_exactly_and_adds_nothing_when_sent_again() {
    let directory = workspace::root().join("../shared/data");
    let Ok(expected) = std::fs::read(directory.join("expect.json")) else {
        println!("skipped: there are no data files next to the workspace");
        return;
    };
    let expected: BTreeMap<String, Expected> = serde_json::from_slice(&expected).unwrap();
    assert!(!expected.is_empty());
    for (name, expected) in &expected {
        file_is_counted(&directory.join(format!("{name}.ndjson.gz")), expected).await;
    }
}

async fn file_is_counted(file: &Path, expected: &Expected) {
    let system = System::start().await;
    let (file, url) = (file.to_str().unwrap(), system.api().url());
    let Expected {
        received,
        unique_processed,
        duplicate_dropped,
        unique_by_topic,
    } = expected;

    let unique = unique_processed.to_string();
    let first = system
        .publish(&["send", file, "--verify", url, "--expect-unique", &unique])
        .await;
    first.succeeded();
    assert_eq!(
        first.verified(),
        [*received, *unique_processed, *duplicate_dropped],
        "{file}"
    );
    let books = system.settled().await;
    assert_eq!(
        books.counts(),
        [*received, *unique_processed, *duplicate_dropped],
        "{file}"
    );
    let found: BTreeMap<_, _> = books
        .topics
        .iter()
        .map(|(topic, counts)| (topic.clone(), counts.unique_processed))
        .collect();
    assert_eq!(found, *unique_by_topic, "{file}");

    let second = system
        .publish(&["send", file, "--verify", url, "--expect-unique", "0"])
        .await;
    second.succeeded();
    assert_eq!(second.verified(), [*received, 0, *received], "{file}");
    let books = system.settled().await;
    assert_eq!(
        books.counts(),
        [
            2 * received,
            *unique_processed,
            duplicate_dropped + received
        ],
        "{file}"
    );
    assert_eq!(books.stats.conflicts, 0, "the same file is the same bytes");
}
