//! The table of expected and actual counts.

use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::HumanCount;

use super::compare::{Row, Rule, Verdict};

/// Maximum number of rows, other than the total.
const ROWS: usize = 20;

/// What was sent and counted by topic, then in total.
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
    // Rows that differ come first, so that they are never cut off.
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
        // If the number of stored events is known, all others are duplicates.
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
    // Possible copies in the stream would be received as duplicates.
    let up_to = |least: u64| match doubled {
        0 => HumanCount(least).to_string(),
        more => format!("{}-{}", HumanCount(least), HumanCount(least + more)),
    };
    let (unique, duplicates) = match rule {
        Rule::Fresh { .. } => (HumanCount(sent.unique).to_string(), up_to(duplicates)),
        Rule::Known { .. } => (
            format!("0-{}", HumanCount(sent.unique)),
            format!(
                "{}-{}",
                HumanCount(duplicates),
                HumanCount(sent.sent + doubled)
            ),
        ),
    };
    let counted = row.counted;
    [
        // A topic may contain any character, including those that move the cursor.
        Cell::new(row.topic.escape_debug()),
        Cell::new(up_to(sent.sent)),
        Cell::new(HumanCount(counted.received)),
        Cell::new(unique),
        Cell::new(HumanCount(counted.unique_processed)),
        Cell::new(duplicates),
        Cell::new(HumanCount(counted.duplicate_dropped)),
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
    use crate::send_stats::Tally;

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
    fn the_last_row_is_the_total_expected_and_counted() {
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
    fn of_many_topics_those_that_differ_are_listed() {
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
        let text = table(&verdict(200, rule), rule);
        assert!(last_words(&text)[1] == "2,000", "{text}");
    }
}
