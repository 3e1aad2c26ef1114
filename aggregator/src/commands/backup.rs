//! `aggregator backup`: a consistent copy of a store, whether or not its aggregator is running.

use std::path::Path;

use anyhow::Context;
use bytesize::ByteSize;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use shared::command_line::print;

use crate::store::backup;

/// Copies the store in `directory` to `file`, and prints the number of events and the size of the copy.
///
/// # Errors
/// If there is no store, `file` or the partial copy of another backup to `file` already exists, the store cannot be
/// read, or the copy cannot be written. What this backup has written is removed, if possible.
pub fn run(directory: &Path, file: &Path) -> anyhow::Result<()> {
    let bar = ProgressBar::no_length().with_style(
        ProgressStyle::with_template("{bar:40} {percent} % of {human_len} pages, {eta} left")
            .context("the progress bar's template is not valid")?,
    );
    let copied = backup::backup(directory, file, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let copied = copied.context("the backup failed")?;
    print(format_args!(
        "{}: {} events, {}\n",
        file.display(),
        HumanCount(copied.events),
        ByteSize(copied.bytes)
    ))
    .context("the backup is complete, but its size cannot be printed")
}
