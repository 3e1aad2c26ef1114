//! The table of faults: how often each was tried, and with what result.

use std::collections::BTreeMap;

use comfy_table::{Table, presets};

use crate::{fault::Fault, round::Outcome};

/// All rounds so far.
#[derive(Default)]
pub struct Report {
    lines: BTreeMap<Fault, Line>,
    not_tried: BTreeMap<Fault, String>,
    rounds: Line,
    is_wrong: bool,
}

/// A fault, or all of them. The findings of a round are counted for each of its faults.
#[derive(Default, Clone)]
struct Line {
    times: u64,
    events: u64,
    lost: u64,
    twice: u64,
    miscounted: u64,
}

impl Line {
    fn add(&mut self, outcome: &Outcome) {
        self.times += 1;
        self.events += outcome.found.events;
        self.lost += outcome.found.lost;
        self.twice += outcome.found.twice;
        self.miscounted += outcome.found.wrong.len() as u64;
    }

    fn row(&self, name: String) -> Vec<String> {
        let counts = [
            self.times,
            self.events,
            self.lost,
            self.twice,
            self.miscounted,
        ];
        let mut row = vec![name];
        row.extend(counts.map(|count| count.to_string()));
        row
    }
}

impl Report {
    pub fn add(&mut self, outcome: Outcome) {
        self.rounds.add(&outcome);
        for fault in &outcome.tried {
            self.lines.entry(*fault).or_default().add(&outcome);
        }
        self.is_wrong |= !outcome.found.is_exact();
        self.not_tried.extend(outcome.not_tried);
    }

    pub fn is_exact(&self) -> bool {
        !self.is_wrong
    }

    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header([
            "fault",
            "times",
            "events at stake",
            "lost",
            "stored twice",
            "miscounted",
        ]);
        for (fault, line) in &self.lines {
            table.add_row(line.row(fault.name()));
        }
        table.add_row(self.rounds.row("all, rounds".to_owned()));
        let not_tried = self.not_tried.iter();
        let not_tried =
            not_tried.map(|(fault, reason)| format!("\nnot tried: {}: {reason}", fault.name()));
        table.to_string() + &not_tried.collect::<String>()
    }
}
