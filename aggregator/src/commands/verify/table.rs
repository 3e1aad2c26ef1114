//! The human-readable report: a table, the first differences, and the notes of the checks.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::HumanCount;

use crate::store::verify::{Check, Report, Verdict};

/// Differences that are listed, over all checks.
const NAMED: usize = 20;

/// The whole report.
pub fn text(report: &Report) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_header(["check", "recorded", "found", ""]);
    for check in &report.checks {
        table.add_row(cells(check));
    }
    for column in [1, 2] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!("{}\n", table.trim_fmt());
    let differences = report
        .checks
        .iter()
        .map(|check| check.differences)
        .sum::<u64>();
    let named: Vec<_> = report
        .checks
        .iter()
        .flat_map(|check| &check.named)
        .take(NAMED)
        .collect();
    for line in &named {
        let _ = writeln!(text, "differs: {line}");
    }
    if differences > named.len() as u64 {
        let _ = writeln!(text, "and {} more", differences - named.len() as u64);
    }
    for check in &report.checks {
        for note in &check.notes {
            let _ = writeln!(text, "{}: {note}", check.name);
        }
    }
    let verdict = if report.is_consistent() {
        "consistent"
    } else {
        "not consistent"
    };
    let _ = writeln!(text, "{verdict}");
    text
}

fn cells(check: &Check) -> [Cell; 4] {
    let number = |number: Option<u64>| {
        Cell::new(number.map_or_else(String::new, |n| HumanCount(n).to_string()))
    };
    let verdict = match check.verdict {
        Verdict::Ok => "ok",
        Verdict::Differs => "differs",
        Verdict::LeftOut => "left out",
    };
    [
        Cell::new(check.name),
        number(check.expected),
        number(check.found),
        Cell::new(verdict),
    ]
}
