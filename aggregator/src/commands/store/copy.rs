//! `aggregator store copy`: copies a store from a directory to a database, where the service then continues.

use std::{fmt::Write, path::PathBuf};

use anyhow::{Context, bail};
use indicatif::HumanCount;
use shared::command_line::{print, say};

use crate::{
    clock,
    commands::verify::progress::Bar,
    data_dir::DataDir,
    store::{
        Address, FILE,
        copy::{self, Copied, How, Left},
    },
};

/// What is copied, and where to.
#[derive(Debug)]
pub struct Settings {
    /// The directory of the store.
    pub from: PathBuf,
    /// The database.
    pub to: Address,
}

/// Copies the store, and prints what was copied and what was not.
///
/// # Errors
/// If a process uses the directory, there is no store in it, the database has other data or cannot be used, or what was read back
/// differs. A later run continues the copy.
pub async fn run(Settings { from, to }: &Settings) -> anyhow::Result<()> {
    if !from.join(FILE).try_exists().unwrap_or(true) {
        bail!(
            "there is no store in {}; give the directory of one with --from",
            from.display()
        );
    }
    let directory = DataDir::hold(from)?;
    let bar = Bar::new("reading what is recorded");
    let copied = copy::copy(directory.path(), to, clock::now_micros(), &bar).await;
    drop(bar);
    let copied = copied.with_context(|| {
        format!(
            "the store in {} is not copied to {to}",
            directory.path().display()
        )
    })?;
    match copied.how {
        How::Whole | How::Before => {}
        How::Continued => say("continued the copy that an earlier run had not completed"),
        How::Again => say("the store has changed since an earlier run, so the copy began again"),
    }
    let text = text(&copied, &from.display().to_string(), to);
    print(text).context("the copy is complete, but what it has cannot be printed")
}

fn text(copied: &Copied, from: &str, to: &Address) -> String {
    let Copied {
        events,
        topics,
        rejected,
        conflicts,
        applied,
        left,
        how,
    } = copied;
    let count = |number: &u64| HumanCount(*number);
    let done = if *how == How::Before {
        "was complete before"
    } else {
        "read back and compared"
    };
    let mut text = format!(
        "{to}: {} events of {} topics, {} rejected arrivals and {} conflicts; {done}\n",
        count(events),
        count(topics),
        count(rejected),
        count(conflicts),
    );
    if let Some((stream, floor)) = applied {
        let _ = writeln!(text, "stream {stream} is applied up to sequence {floor}");
    }
    let left = not_copied(left);
    if !left.is_empty() {
        text.push_str("not copied, because the store has not recorded it:\n");
        for line in left {
            let _ = writeln!(text, "- {line}");
        }
    }
    let _ = writeln!(
        text,
        "Start the service with --store and the same --stream and --durable, and no longer one in {from}: messages that it would apply would be missing here."
    );
    text
}

fn not_copied(left: &Left) -> Vec<String> {
    let Left {
        counted_since,
        repeats,
    } = left;
    let mut lines = Vec::new();
    if let Some(since) = counted_since {
        lines.push(format!(
            "when events of single topics, duplicates and rejected arrivals before {} were counted",
            clock::rfc3339(*since)
        ));
    }
    if *repeats > 0 {
        lines.push(format!(
            "which events were repeated by {} duplicates; the duplicates of each topic are copied",
            HumanCount(*repeats)
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_copied_is_named() {
        let mut copied = Copied {
            events: 14_000,
            topics: 10,
            rejected: 2,
            conflicts: 1,
            applied: Some(("EVENTS".to_owned(), 84)),
            left: Left {
                counted_since: Some(0),
                repeats: 6_000,
            },
            how: How::Whole,
        };
        let to: Address = "postgres://user:secret@127.0.0.1/events".parse().unwrap();
        let shown = text(&copied, "./data", &to);
        for part in [
            "14,000 events of 10 topics, 2 rejected arrivals and 1 conflicts; read back and compared",
            "stream EVENTS is applied up to sequence 84",
            "- when events of single topics",
            "before 1970-01-01T00:00:00",
            "by 6,000 duplicates",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains("secret"), "{shown}");
        copied.left = Left {
            counted_since: None,
            repeats: 0,
        };
        assert!(!text(&copied, "./data", &to).contains("not copied"));
    }
}
