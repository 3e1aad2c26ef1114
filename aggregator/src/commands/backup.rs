//! `aggregator backup`: a consistent copy of a store, running or stopped.

use std::path::Path;

use anyhow::Context;
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};

use crate::store::backup;

/// Copies the store in `directory` to `file`, and prints its number of events and its size.
///
/// # Errors
/// If there is no store, the file exists, or it cannot be written. Nothing is left behind then.
pub fn run(directory: &Path, file: &Path) -> anyhow::Result<()> {
    let bar = ProgressBar::no_length().with_style(
        ProgressStyle::with_template("{bar:40} {percent} % of {len} pages, {eta} left")
            .context("the progress bar's template")?,
    );
    let copied = backup::backup(directory, file, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let copied = copied.context("the backup failed")?;
    println!(
        "{}: {} events, {}",
        file.display(),
        copied.events,
        ByteSize(copied.bytes)
    );
    Ok(())
}
