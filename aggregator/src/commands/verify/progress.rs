//! The progress of a verification: a bar on standard error if that is a terminal, nothing otherwise.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::store::verify::Progress;

/// The bar; it is removed when it is dropped.
#[derive(Debug)]
pub struct Bar(Option<ProgressBar>);

impl Bar {
    /// Shows a bar if standard error is a terminal.
    pub fn new() -> Self {
        Self(stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            let template = "{wide_bar} {human_pos} of {human_len} {msg}";
            bar.with_style(
                ProgressStyle::with_template(template).expect("the template is constant"),
            )
        }))
    }
}

impl Progress for Bar {
    fn at(&self, part: &'static str, done: u64, of: u64) {
        if let Some(bar) = &self.0 {
            if bar.message() != part {
                bar.reset();
                bar.set_message(part);
            }
            bar.set_length(of);
            bar.set_position(done);
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
