//! `aggregator store init`: shows and applies the schema of a store in a database.

use anyhow::Context;
use shared::command_line::{print, say};

use super::Init;
use crate::{
    clock,
    store::{SchemaChange, init_shared},
};

/// Prints the statements to standard output, and what became of them to standard error.
pub(super) async fn run(settings: &Init) -> anyhow::Result<()> {
    let Init { address, is_dry } = settings;
    let mut shown = None;
    let mut printed = Ok(());
    let mut show = |change: &SchemaChange| {
        // Before they are run: a change of a large table takes long.
        printed = print(change.script());
        shown = Some((change.from, change.to, change.is_empty()));
    };
    init_shared(address, clock::now_micros(), *is_dry, &mut show)
        .await
        .with_context(|| format!("cannot prepare the store in {address}"))?;
    if let Some((from, to, is_empty)) = shown {
        say(ended(&address.to_string(), (from, to), is_empty, *is_dry));
    }
    printed.context("the statements cannot be printed")
}

fn ended(address: &str, (from, to): (i64, i64), is_empty: bool, is_dry: bool) -> String {
    match (is_empty, is_dry) {
        (true, _) => format!("{address} has schema version {to}; there is nothing to change"),
        (false, true) => format!(
            "{address} has schema version {from}; these statements bring it to version {to}, and were not run (--dry-run)"
        ),
        (false, false) => {
            format!("{address} had schema version {from}; it now has version {to}")
        }
    }
}
