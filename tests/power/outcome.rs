//! The outcome of a cut, as printed.

use std::{fmt, time::Duration};

use comfy_table::{CellAlignment, Table, presets};

/// The outcome of a cut.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    /// When the power was cut, after the first confirmation and the first ack.
    pub moment: Duration,
    /// How long events waited for others to be committed with.
    pub batch_wait: Duration,
    /// Identities confirmed to clients.
    pub confirmed: usize,
    /// Of those, identities that the store alone does not have: the broker must have kept them.
    pub in_stream: usize,
    /// Sequences that the aggregator had acked.
    pub acked: usize,
    /// Of those, sequences that the store alone has not applied.
    pub unapplied: usize,
    /// What was kept, with the broker; none if the cut panicked before that.
    pub kept: Option<Kept>,
    /// Something else was wrong; it was printed when it happened.
    pub panicked: bool,
}

/// What was kept of the events.
#[derive(Debug)]
pub struct Kept {
    /// Rows, including those of events that were not confirmed.
    pub stored: u64,
    /// Confirmed identities that are not stored.
    pub missing: usize,
    /// Identities stored more than once, even after everything was sent again.
    pub twice: usize,
    /// Whether `aggregator verify` found no difference.
    pub verified: bool,
}

impl Outcome {
    /// The outcome of a cut that panicked.
    pub fn of_a_panic(seed: u64) -> Self {
        Self {
            seed,
            moment: Duration::ZERO,
            batch_wait: Duration::ZERO,
            confirmed: 0,
            in_stream: 0,
            acked: 0,
            unapplied: 0,
            kept: None,
            panicked: true,
        }
    }

    /// Whether everything was as it must be.
    pub fn is_good(&self) -> bool {
        let kept = self.kept.as_ref();
        let kept = kept.is_none_or(|kept| kept.missing == 0 && kept.twice == 0 && kept.verified);
        kept && self.unapplied == 0 && !self.panicked
    }

    fn cells(&self) -> [String; 12] {
        let milliseconds = |time: Duration| format!("{} ms", time.as_millis());
        let kept =
            |value: fn(&Kept) -> String| self.kept.as_ref().map_or_else(|| "-".to_owned(), value);
        [
            self.seed.to_string(),
            milliseconds(self.moment),
            milliseconds(self.batch_wait),
            self.confirmed.to_string(),
            self.in_stream.to_string(),
            kept(|kept| kept.stored.to_string()),
            kept(|kept| kept.missing.to_string()),
            kept(|kept| kept.twice.to_string()),
            self.acked.to_string(),
            self.unapplied.to_string(),
            kept(|kept| {
                if kept.verified {
                    "consistent"
                } else {
                    "differs"
                }
                .to_owned()
            }),
            if self.is_good() { "passed" } else { "FAILED" }.to_owned(),
        ]
    }
}

const COLUMNS: [&str; 12] = [
    "seed",
    "moment",
    "batch wait",
    "confirmed",
    "in stream alone",
    "stored",
    "missing",
    "twice",
    "acked",
    "acked, not applied",
    "verify",
    "",
];

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = self.cells();
        let named = COLUMNS
            .iter()
            .zip(&cells)
            .map(|(column, cell)| match *column {
                "" => cell.clone(),
                column => format!("{column} {cell}"),
            });
        f.write_str(&named.collect::<Vec<_>>().join("; "))
    }
}

/// All cuts as a table, with the number that passed.
pub fn summary(outcomes: &[Outcome]) -> String {
    let mut table = table(&COLUMNS);
    table.add_rows(outcomes.iter().map(Outcome::cells));
    let good = outcomes.iter().filter(|outcome| outcome.is_good()).count();
    format!("\n{table}\n{good} of {} cuts passed", outcomes.len())
}

/// An empty table, with numbers aligned to the right.
pub fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(columns);
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
