//! Progress on standard error: a bar on a terminal, plain lines elsewhere.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// Prints a line to standard error. A closed standard error is not a failure.
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Minimum time between two notices: while the reason is the same, and when it changed.
const REPEAT_AFTER: Duration = Duration::from_secs(10);
const CHANGE_AFTER: Duration = Duration::from_secs(1);

/// Prints what a long wait is for.
#[derive(Debug)]
pub struct WaitNotice {
    /// The last line and when it was printed.
    last: (Instant, String),
}

impl WaitNotice {
    /// The wait starts now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            last: (now, String::new()),
        }
    }

    /// Prints the reason if it is due.
    pub fn say(&mut self, what: impl fmt::Display, now: Instant) {
        let what = what.to_string();
        let pause = if what == self.last.1 {
            REPEAT_AFTER
        } else {
            CHANGE_AFTER
        };
        if now.saturating_duration_since(self.last.0) >= pause {
            say(format_args!("waiting for {what}"));
            self.last = (now, what);
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone)]
pub struct ProgressState {
    /// Events confirmed.
    pub sent: u64,
    /// What holds it up, if anything.
    pub obstacle: Option<String>,
}

/// Shows how far a run is.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    total: Option<u64>,
    every: Duration,
    /// When the last plain line was printed, and how many events had been sent by then.
    last: (Instant, u64),
}

impl Progress {
    /// Progress towards `total` events, or without a known end. `every` is the interval of plain lines.
    #[must_use]
    pub fn new(total: Option<u64>, every: Duration, now: Instant) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let (bar, template) = match total {
                Some(total) => (
                    ProgressBar::new(total),
                    "{wide_bar} {human_pos} of {human_len} events, {per_sec} {msg}",
                ),
                None => (
                    ProgressBar::no_length(),
                    "{spinner} {human_pos} events, {per_sec} {msg}",
                ),
            };
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.with_style(
                ProgressStyle::with_template(template).expect("the template is constant"),
            )
        });
        Self {
            bar,
            total,
            every,
            last: (now, 0),
        }
    }

    /// Shows the state if it is due.
    pub fn show(&mut self, state: ProgressState, now: Instant) {
        let obstacle = state.obstacle.map(|obstacle| format!("({obstacle})"));
        if let Some(bar) = &self.bar {
            bar.set_position(state.sent);
            bar.set_message(obstacle.unwrap_or_default());
            return;
        }
        let (then, sent) = self.last;
        if now - then >= self.every {
            self.last = (now, state.sent);
            let line = plain(state.sent, state.sent - sent, now - then, self.total);
            say(format_args!("{line} {}", obstacle.unwrap_or_default())
                .to_string()
                .trim_end());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn plain(sent: u64, since: u64, took: Duration, total: Option<u64>) -> String {
    #[expect(clippy::cast_precision_loss)]
    let rate = since as f64 / took.as_secs_f64().max(1e-9);
    match total {
        Some(total) => {
            let percent = u128::from(sent) * 100 / u128::from(total.max(1));
            format!("sent {sent} of {total} events ({percent} %), {rate:.0} events/s")
        }
        None => format!("sent {sent} events, {rate:.0} events/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_says_how_far_and_how_fast() {
        let second = Duration::from_secs(1);
        assert_eq!(
            plain(500, 250, second / 2, Some(1_000)),
            "sent 500 of 1000 events (50 %), 500 events/s"
        );
        assert_eq!(plain(3, 2, second, None), "sent 3 events, 2 events/s");
        assert_eq!(
            plain(0, 0, second, Some(0)),
            "sent 0 of 0 events (0 %), 0 events/s"
        );
    }
}
