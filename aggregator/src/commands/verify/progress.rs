//! The progress of a verification: shown on standard error if that is a terminal, nothing otherwise.

use std::{
    fmt,
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::store::verify::Progress;

/// A part without a known length.
const SPINNER: &str = "{spinner} {msg}, {elapsed}";

/// A part with a known length.
const BAR: &str = "{wide_bar} {human_pos} of {human_len} {msg}{left}";

/// Redraws this often even if nothing is reported, so that it never looks as if it hangs.
const TICK: Duration = Duration::from_millis(200);

/// Less than this is not worth an estimate.
const SOON: Duration = Duration::from_millis(500);

/// The progress, shown from the start; it is removed when it is dropped.
#[derive(Debug)]
pub struct Bar(Option<ProgressBar>);

impl Bar {
    /// Shows the first part if standard error is a terminal.
    pub fn new(part: &'static str) -> Self {
        Self(stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                .with_style(style(SPINNER))
                .with_message(part);
            bar.tick();
            bar.enable_steady_tick(TICK);
            bar
        }))
    }
}

impl Progress for Bar {
    fn begins(&self, part: &'static str) {
        if let Some(bar) = &self.0 {
            bar.set_style(style(SPINNER));
            bar.set_message(part);
            bar.reset();
            bar.unset_length();
        }
    }

    fn at(&self, part: &'static str, done: u64, of: u64) {
        if let Some(bar) = &self.0 {
            let is_new = bar.message() != part;
            if is_new {
                bar.reset();
            }
            bar.set_length(of);
            bar.set_position(done);
            if is_new {
                bar.set_style(style(BAR));
                bar.set_message(part);
            }
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let left = |bar: &ProgressState, to: &mut dyn fmt::Write| {
        let left = bar.eta();
        if left > SOON {
            let _ = write!(to, ", about {} left", HumanDuration(left));
        }
    };
    let style = ProgressStyle::with_template(template).expect("the templates are constant");
    style.with_key("left", left)
}
