//! Rereads the tokens file.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    file::{self, FileError, Tokens},
    tokens::Access,
};
use crate::health::{Health, Notice};

/// How often the file is compared with what was read before. It is small, and reading it finds every change, even one that
/// leaves its times as they were.
const INTERVAL: Duration = Duration::from_secs(2);

/// Replaces the tokens when the file changes, and at SIGHUP at once. If it cannot be read, the tokens stay as they are, and the
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
    let mut known = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = hangups.recv() => info!("rereading the tokens file because of SIGHUP"),
            () = token.cancelled() => return Ok(()),
        }
        let read = path.clone();
        let read = spawn_blocking(move || file::text(&read)).await;
        let read = read.context("reading the tokens file was interrupted")?;
        let changed = match read {
            Ok(text) if known.as_ref() == Some(&text) => continue,
            Ok(text) => {
                let tokens = Tokens::read_from(&path, &text);
                known = Some(text);
                tokens
            }
            Err(err) => {
                known = None;
                Err(err)
            }
        };
        take(changed, &access, &health);
    }
}

fn take(read: Result<Tokens, FileError>, access: &Access, health: &Health) {
    let notice = match read {
        Ok(tokens) => {
            info!(tokens = tokens.entries().len(), "read the tokens file");
            access.replace(tokens);
            None
        }
        Err(err) => Some(format!(
            "{:#}; the tokens that were read before stay valid",
            anyhow::Error::new(err)
        )),
    };
    health.notices(Notice::Tokens, notice);
}
