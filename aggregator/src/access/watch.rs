//! Rereads the tokens file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    file::{self, FileError, Tokens},
    tokens::Access,
};
use crate::health::{Health, Notice};

/// How often the file is read. It is small, and reading it finds every change, even one that leaves its times as they were.
const INTERVAL: Duration = Duration::from_secs(1);

/// The text of the file, or why it cannot be read.
type Content = Result<String, String>;

/// What was read before.
#[derive(Debug, Default)]
struct Seen {
    latest: Option<Content>,
    taken: Option<Content>,
}

impl Seen {
    /// Whether what was read now is taken: it differs from what was taken before, and the previous read was the same, since
    /// another program may be in the middle of writing the file; or somebody asked for it.
    fn takes(&mut self, content: Content, is_asked: bool) -> bool {
        let is_settled = is_asked || self.latest.as_ref() == Some(&content);
        let takes = is_settled && self.taken.as_ref() != Some(&content);
        if takes {
            self.taken = Some(content.clone());
        }
        self.latest = Some(content);
        takes
    }
}

/// Replaces the tokens when the file has changed, and at SIGHUP at once. If it cannot be read, the tokens stay as they are, and the
/// log and `/health` say so.
///
/// # Errors
/// If SIGHUP cannot be handled.
pub async fn keep_reading(
    path: PathBuf,
    access: Access,
    health: Health,
    token: CancellationToken,
) -> anyhow::Result<()> {
    let mut hangups = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Seen::default();
    loop {
        let is_asked = tokio::select! {
            _ = ticks.tick() => false,
            _ = hangups.recv() => true,
            () = token.cancelled() => return Ok(()),
        };
        if is_asked {
            info!("rereading the tokens file because of SIGHUP");
        }
        let path = path.clone();
        let reading = spawn_blocking(move || {
            let found = read(&path, &mut seen, is_asked);
            (seen, found)
        });
        let found;
        (seen, found) = reading
            .await
            .context("reading the tokens file was interrupted")?;
        if let Some(read) = found {
            take(read, &access, &health);
        }
    }
}

/// The tokens of the file, or why there are none, if what was read is taken.
fn read(path: &Path, seen: &mut Seen, is_asked: bool) -> Option<Result<Tokens, String>> {
    let content = file::own_text(path).map_err(reason);
    let takes = seen.takes(content.clone(), is_asked);
    takes.then(|| Tokens::read_from(path, &content?).map_err(reason))
}

fn reason(err: FileError) -> String {
    format!("{:#}", anyhow::Error::new(err))
}

fn take(read: Result<Tokens, String>, access: &Access, health: &Health) {
    let notice = match read {
        Ok(tokens) => {
            info!(tokens = tokens.entries().len(), "read the tokens file");
            if tokens.entries().is_empty() {
                warn!("the tokens file has no tokens, so nobody has access");
            }
            access.replace(tokens);
            None
        }
        Err(reason) => Some(format!(
            "{reason}; the tokens that were read before stay valid"
        )),
    };
    health.notices(Notice::Tokens, notice);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_taken_once_two_reads_agree_or_somebody_asks() {
        let mut seen = Seen::default();
        let mut takes = |text: Result<&str, &str>, is_asked| {
            let content = text.map(str::to_owned).map_err(str::to_owned);
            seen.takes(content, is_asked)
        };
        assert!(!takes(Ok("a"), false));
        assert!(takes(Ok("a"), false));
        assert!(!takes(Ok("a"), false) && !takes(Ok("a"), true));
        // A file that is truncated first, and then written in parts.
        assert!(!takes(Ok(""), false) && !takes(Ok("b"), false) && !takes(Ok("bc"), false));
        assert!(takes(Ok("bc"), false));
        assert!(takes(Ok("d"), true));
        assert!(!takes(Err("gone"), false) && !takes(Ok("d"), false));
        assert!(!takes(Err("gone"), false) && takes(Err("gone"), false));
    }
}
