//! Progress on standard error: a bar on a terminal, plain lines elsewhere.

use std::{
    fmt,
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{
    HumanCount, HumanDuration, HumanFloatCount, ProgressBar, ProgressDrawTarget,
    ProgressState as BarState, ProgressStyle,
};
use shared::command_line::say;
use tokio::time::Instant;

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

/// The progress of a run.
#[derive(Debug, Clone)]
pub struct ProgressState {
    /// Events confirmed.
    pub sent: u64,
    /// What holds it up, if anything.
    pub obstacle: Option<String>,
}

/// Shows the progress of a run.
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
                    "{wide_bar} {human_pos} of {human_len} events, {rate}{left} {msg}",
                ),
                None => (
                    ProgressBar::no_length(),
                    "{spinner} {human_pos} events, {rate} {msg}",
                ),
            };
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.with_style(
                ProgressStyle::with_template(template)
                    .expect("the template is constant")
                    .with_key("rate", |bar: &BarState, to: &mut dyn fmt::Write| {
                        let _ = to.write_str(&rate(bar.per_sec()));
                    })
                    .with_key("left", |bar: &BarState, to: &mut dyn fmt::Write| {
                        let events = bar.len().unwrap_or(0).saturating_sub(bar.pos());
                        let _ = to.write_str(&left(events, bar.per_sec()));
                    }),
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
    let per_second = since as f64 / took.as_secs_f64().max(1e-9);
    let rate = rate(per_second);
    match total {
        Some(total) => {
            let percent = u128::from(sent) * 100 / u128::from(total.max(1));
            let left = left(total.saturating_sub(sent), per_second);
            let (sent, total) = (HumanCount(sent), HumanCount(total));
            format!("sent {sent} of {total} events ({percent} %), {rate}{left}")
        }
        None => format!("sent {} events, {rate}", HumanCount(sent)),
    }
}

/// A rate without decimals and with separators.
pub fn rate(events_per_second: f64) -> String {
    format!("{} events/s", HumanFloatCount(events_per_second.round()))
}

/// Less time than this is not worth an estimate.
const SOON: Duration = Duration::from_millis(500);

/// The estimated time until this many events are sent at this rate; nothing if it cannot be estimated.
fn left(events: u64, per_second: f64) -> String {
    #[expect(clippy::cast_precision_loss)]
    let seconds = events as f64 / per_second;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration > SOON => format!(", about {} left", HumanDuration(duration)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_says_how_far_how_fast_and_how_long() {
        let second = Duration::from_secs(1);
        assert_eq!(
            plain(750_000, 2_500, second / 2, Some(1_000_000)),
            "sent 750,000 of 1,000,000 events (75 %), 5,000 events/s, about 50 seconds left"
        );
        // Nothing was sent recently, so there is no estimate.
        assert_eq!(
            plain(1_500, 0, second, Some(2_000)),
            "sent 1,500 of 2,000 events (75 %), 0 events/s"
        );
        assert_eq!(
            plain(2_000, 2_000, second * 3, Some(2_000)),
            "sent 2,000 of 2,000 events (100 %), 667 events/s"
        );
        assert_eq!(
            plain(1, 1, second, Some(u64::MAX)),
            "sent 1 of 18,446,744,073,709,551,615 events (0 %), 1 events/s"
        );
        assert_eq!(plain(3, 2, second, None), "sent 3 events, 2 events/s");
        assert_eq!(
            plain(0, 0, second, Some(0)),
            "sent 0 of 0 events (0 %), 0 events/s"
        );
    }
}
