//! Rereads files that a person or another program may change while the service runs.

use std::time::Duration;

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How often the files are read. They are small, and reading them finds every change, even one that leaves their times as they
/// were.
const INTERVAL: Duration = Duration::from_secs(1);

/// Says in the log at each SIGHUP that there is nothing to reread. It replaces what the system does at that signal, which is to end
/// the process: an operator who sends it to a service without such files expects no harm.
///
/// # Errors
/// If SIGHUP cannot be handled.
pub async fn keep_declining(token: CancellationToken) -> anyhow::Result<()> {
    let mut hangups = hangups()?;
    loop {
        tokio::select! {
            _ = hangups.recv() => info!(
                "there are no files to reread because of SIGHUP: neither --tokens nor --tls-cert is given, and those for the broker are read at each connect"
            ),
            () = token.cancelled() => return Ok(()),
        }
    }
}

/// The signals SIGHUP. From now on they do not end the process.
///
/// # Errors
/// If SIGHUP cannot be handled.
pub fn hangups() -> anyhow::Result<Signal> {
    signal(SignalKind::hangup()).context("cannot listen for SIGHUP")
}

/// What was read before.
#[derive(Debug)]
struct Seen<C> {
    latest: Option<C>,
    taken: Option<C>,
}

impl<C: Clone + PartialEq> Seen<C> {
    /// Whether what was read now is taken: it differs from what was taken before, and the previous read was the same, since
    /// another program may be in the middle of writing the files; or somebody asked for it.
    fn takes(&mut self, content: &C, is_asked: bool) -> bool {
        let is_settled = is_asked || self.latest.as_ref() == Some(content);
        let takes = is_settled && self.taken.as_ref() != Some(content);
        if takes {
            self.taken = Some(content.clone());
        }
        self.latest = Some(content.clone());
        takes
    }
}

/// Reads again and again, and passes on what differs from `before`, and then whatever has changed; at SIGHUP at once. Both `read` and
/// `take` may block. `what` is read, for the log.
///
/// # Errors
/// If SIGHUP cannot be handled.
pub async fn keep_reading<C: Clone + PartialEq + Send + 'static>(
    what: &'static str,
    before: Option<C>,
    read: impl Fn() -> C + Send + 'static,
    take: impl Fn(C) + Send + 'static,
    token: CancellationToken,
) -> anyhow::Result<()> {
    let mut hangups = hangups()?;
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let seen = Seen {
        latest: None,
        taken: before,
    };
    let mut state = (seen, read, take);
    loop {
        let is_asked = tokio::select! {
            _ = ticks.tick() => false,
            _ = hangups.recv() => true,
            () = token.cancelled() => return Ok(()),
        };
        if is_asked {
            info!("rereading {what} because of SIGHUP");
        }
        let reading = spawn_blocking(move || {
            let (seen, read, take) = &mut state;
            let content = read();
            if seen.takes(&content, is_asked) {
                take(content);
            }
            state
        });
        state = reading
            .await
            .with_context(|| format!("reading {what} was interrupted"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_taken_once_two_reads_agree_or_somebody_asks() {
        let mut seen = Seen {
            latest: None,
            taken: None,
        };
        let mut takes =
            |text: Result<&'static str, &'static str>, is_asked| seen.takes(&text, is_asked);
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
