//! The report: a line for each tenth, then a comparison of the contenders.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::{
    meter::Tenth,
    run::End,
    settings::{Contender, Settings},
};

/// All measurements.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The share of events that repeat an earlier one.
    pub duplicates: f64,
    /// Topics.
    pub topics: u32,
    /// The least number of events per transaction.
    pub batch_events: u64,
    /// The contenders, in the order in which they ran.
    pub runs: Vec<Run>,
    /// The contenders compared.
    pub ratios: Ratios,
}

/// The run of a contender.
#[derive(Debug, Serialize)]
pub struct Run {
    /// Its name.
    pub contender: &'static str,
    /// Its ten tenths.
    pub tenths: Vec<Tenth>,
    /// Its totals.
    #[serde(flatten)]
    pub end: End,
}

/// Ratios of rates, of several runs the median; `None` if a contender did not run.
#[derive(Debug, Default, Serialize)]
pub struct Ratios {
    /// In the last tenth of each.
    pub store_to_unique_index: Option<f64>,
    /// In the second tenth.
    pub store_to_append_only_second: Option<f64>,
    /// In the last tenth.
    pub store_to_append_only_last: Option<f64>,
    /// The latter divided by the former: 1 if growth costs the store nothing.
    pub last_to_second: Option<f64>,
}

impl Report {
    /// Compares the runs.
    pub fn new(settings: &Settings, runs: Vec<Run>) -> Self {
        // The median of several runs.
        let rate = |contender: Contender, tenth: usize| {
            let of = runs.iter().filter(|run| run.contender == contender.name());
            let tenths = of.filter_map(|run| run.tenths.get(tenth));
            let mut rates: Vec<_> = tenths.map(|tenth| tenth.rate).collect();
            rates.sort_unstable();
            rates.get(rates.len() / 2).copied().map(f64::from)
        };
        let ratio = |to, tenth| Some(rate(Contender::Store, tenth)? / rate(to, tenth)?);
        let second = ratio(Contender::AppendOnly, 1);
        let last = ratio(Contender::AppendOnly, 9);
        let ratios = Ratios {
            store_to_unique_index: ratio(Contender::UniqueIndex, 9),
            store_to_append_only_second: second,
            store_to_append_only_last: last,
            last_to_second: last.zip(second).map(|(last, second)| last / second),
        };
        Self {
            duplicates: settings.duplicates,
            topics: settings.topics,
            batch_events: settings.batch_events,
            runs,
            ratios,
        }
    }

    /// The contenders and the ratios, as a table.
    pub fn summary(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header([
            "",
            "unique",
            "duplicates",
            "exact",
            "peak resident MiB",
            "commit p50 ms",
            "p99 ms",
            "longest ms",
            "start ms",
        ]);
        for Run { contender, end, .. } in &self.runs {
            table.add_row([
                (*contender).to_owned(),
                end.counted.unique_processed.to_string(),
                end.counted.duplicate_dropped.to_string(),
                if end.is_exact() { "yes" } else { "NO" }.to_owned(),
                end.peak_resident_bytes.map_or("?".to_owned(), mib),
                format!("{:.1}", end.commits.p50_ms),
                format!("{:.1}", end.commits.p99_ms),
                format!("{:.1}", end.commits.longest_ms),
                end.start_ms.map_or(String::new(), |ms| format!("{ms:.0}")),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let Ratios {
            store_to_unique_index,
            store_to_append_only_second,
            store_to_append_only_last,
            last_to_second,
        } = &self.ratios;
        let ratios = [
            (
                "store / unique-index, last tenth of each",
                store_to_unique_index,
            ),
            (
                "store / append-only, second tenth",
                store_to_append_only_second,
            ),
            ("store / append-only, last tenth", store_to_append_only_last),
            ("the last of these / the second", last_to_second),
        ];
        let mut lines = vec![table.trim_fmt()];
        for (name, ratio) in ratios {
            lines.extend(ratio.map(|ratio| format!(" {name:<42}{ratio:>6.2}")));
        }
        lines.join("\n")
    }

    /// Whether the counts of every contender agree with those of the traffic.
    pub fn is_exact(&self) -> bool {
        self.runs.iter().all(|run| run.end.is_exact())
    }
}

impl End {
    fn is_exact(&self) -> bool {
        self.counted == self.expected
    }
}

/// The heading of a contender's lines.
pub fn heading(contender: Contender) -> String {
    format!(
        "\n{:<14}{:>12}{:>14}{:>16}{:>14}{:>11}",
        contender.name(),
        "events/s",
        "resident MiB",
        "longest commit",
        "database MiB",
        "index MiB"
    )
}

/// The line of a tenth.
pub fn line(tenth: &Tenth) -> String {
    format!(
        "{:>14}{:>12}{:>14}{:>13.1} ms{:>14}{:>11}",
        tenth.events,
        tenth.rate,
        tenth.resident_bytes.map_or("?".to_owned(), mib),
        tenth.longest_commit_ms,
        mib(tenth.database_bytes),
        mib(tenth.index_bytes)
    )
}

fn mib(bytes: u64) -> String {
    (bytes >> 20).to_string()
}
