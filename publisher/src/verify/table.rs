//! The table of what was expected and what was counted.

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::compare::{Row, Rule, Verdict};

/// Most topics that have a row of their own.
const ROWS: usize = 20;

/// Sent and counted by topic, then over all.
#[must_use]
pub fn table(verdict: &Verdict, rule: Rule) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([
        "topic",
        "received\nexpected",
        "\ncounted",
        "unique\nexpected",
        "\ncounted",
        "duplicates\nexpected",
        "\ncounted",
        "",
    ]);
    // Those that differ come first, for they must not be cut off.
    let mut rows: Vec<_> = verdict.rows.iter().collect();
    rows.sort_by_key(|row| row.agrees);
    let shown = if rows.len() > ROWS { ROWS - 1 } else { ROWS };
    for row in rows.iter().take(shown) {
        table.add_row(cells(row, rule));
    }
    if let Some(more @ 1..) = rows.len().checked_sub(shown) {
        table.add_row([format!("… and {more} more")]);
    }
    let total_rule = match rule {
        // With this many stored, the rest are duplicates.
        Rule::Known {
            unique: Some(unique),
        } => {
            let mut total = verdict.total.clone();
            total.sent.unique = unique;
            table.add_row(cells(
                &total,
                Rule::Fresh {
                    was_used_before: false,
                },
            ));
            None
        }
        rule => Some(rule),
    };
    if let Some(rule) = total_rule {
        table.add_row(cells(&verdict.total, rule));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn cells(row: &Row, rule: Rule) -> [Cell; 8] {
    let sent = row.sent;
    let duplicates = sent.sent.saturating_sub(sent.unique);
    let doubled = sent.possibly_doubled;
    // Events that are in the stream twice, perhaps, are received and are duplicates then.
    let up_to = |least: u64| match doubled {
        0 => least.to_string(),
        more => format!("{least}-{}", least + more),
    };
    let (unique, duplicates) = match rule {
        Rule::Fresh { .. } => (sent.unique.to_string(), up_to(duplicates)),
        Rule::Known { .. } => (
            format!("0-{}", sent.unique),
            format!("{duplicates}-{}", sent.sent + doubled),
        ),
    };
    let counted = row.counted;
    [
        // A topic may hold any character, also those that move the cursor.
        Cell::new(row.topic.escape_debug()),
        Cell::new(up_to(sent.sent)),
        Cell::new(counted.received),
        Cell::new(unique),
        Cell::new(counted.unique_processed),
        Cell::new(duplicates),
        Cell::new(counted.duplicate_dropped),
        Cell::new(if row.agrees { "" } else { "differs" }),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::{
        super::compare::{Counts, compare},
        *,
    };
    use crate::sent::Tally;

    fn verdict(topics: u64, rule: Rule) -> Verdict {
        let tally = Tally {
            sent: 10,
            unique: 7,
            possibly_doubled: 0,
        };
        let counts = |received| Counts {
            received,
            unique_processed: 7,
            duplicate_dropped: received - 7,
        };
        let name = |topic| format!("t{topic:02}");
        let sent: BTreeMap<_, _> = (0..topics).map(|topic| (name(topic), tally)).collect();
        let counted: HashMap<_, _> = (0..topics)
            .map(|topic| (name(topic), counts(if topic == 30 { 9 } else { 10 })))
            .collect();
        compare(&sent, &counted, rule)
    }

    fn last_words(text: &str) -> Vec<&str> {
        text.lines().last().unwrap().split_whitespace().collect()
    }

    #[test]
    fn totals_stand_last_as_expected_and_as_counted() {
        let rule = Rule::Fresh {
            was_used_before: false,
        };
        let text = table(&verdict(2, rule), rule);
        assert_eq!(
            last_words(&text),
            ["total", "20", "20", "14", "14", "6", "6"]
        );
        let rule = Rule::Known { unique: None };
        let text = table(&verdict(2, rule), rule);
        assert_eq!(
            last_words(&text),
            ["total", "20", "20", "0-14", "14", "6-20", "6"]
        );
        let rule = Rule::Known { unique: Some(14) };
        let text = table(&verdict(2, rule), rule);
        assert_eq!(
            last_words(&text),
            ["total", "20", "20", "14", "14", "6", "6"]
        );
    }

    #[test]
    fn of_many_topics_those_that_differ_are_shown() {
        let rule = Rule::Fresh {
            was_used_before: false,
        };
        let text = table(&verdict(50, rule), rule);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2 + ROWS + 1, "{text}");
        assert!(
            lines[2].contains("t30") && lines[2].contains("differs"),
            "{text}"
        );
        assert!(text.contains("and 31 more"), "{text}");
    }
}
