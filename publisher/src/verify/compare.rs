//! Compares what was sent with what the aggregator counted. Pure: no clock, no network.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::send_stats::Tally;

/// The aggregator's counts, of one topic or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Counts {
    /// Events received.
    pub received: u64,
    /// Received events that were stored.
    pub unique_processed: u64,
    /// Received events whose identity was stored before.
    pub duplicate_dropped: u64,
}

impl Counts {
    /// The increase since `before`. Counters never decrease, except if the store was replaced.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            received: self.received.saturating_sub(before.received),
            unique_processed: self
                .unique_processed
                .saturating_sub(before.unique_processed),
            duplicate_dropped: self
                .duplicate_dropped
                .saturating_sub(before.duplicate_dropped),
        }
    }

    fn add(&mut self, other: Self) {
        self.received += other.received;
        self.unique_processed += other.unique_processed;
        self.duplicate_dropped += other.duplicate_dropped;
    }
}

/// Which counts are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The events were generated for this run: none was stored before, and every count is exact.
    Fresh {
        /// Whether the run's topics existed before the run, from an earlier run with the same id.
        was_used_before: bool,
    },
    /// The events may have been stored before.
    Known {
        /// The exact number of events that must be new to the store, if known.
        unique: Option<u64>,
    },
}

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// By topic, sorted by name.
    pub rows: Vec<Row>,
    /// The sum over all topics.
    pub total: Row,
    /// The differences, as messages for the user. Empty if there are none.
    pub problems: Vec<String>,
    /// Whether fewer events were received than sent on some topic: they may still arrive.
    pub is_short: bool,
}

/// What was sent and counted, of one topic or of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The topic's name.
    pub topic: String,
    /// What was sent.
    pub sent: Tally,
    /// What was counted.
    pub counted: Counts,
    /// Whether the counts are as expected.
    pub agrees: bool,
}

/// Compares by topic and in total. `counted` has the topics of `sent`; for a fresh run, all topics with its prefix.
#[must_use]
pub fn compare(
    sent: &BTreeMap<String, Tally>,
    counted: &HashMap<String, Counts>,
    rule: Rule,
) -> Verdict {
    let mut total = Row {
        topic: "total".to_owned(),
        sent: Tally::default(),
        counted: Counts::default(),
        agrees: true,
    };
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    let mut sent = sent.clone();
    if let Rule::Fresh { .. } = rule {
        // Every event under the prefix should be from this run; a topic that it did not send to is foreign.
        for (topic, _) in counted.iter().filter(|(_, counts)| counts.received > 0) {
            sent.entry(topic.clone()).or_default();
        }
    }
    for (topic, tally) in &sent {
        let counts = counted.get(topic).copied().unwrap_or_default();
        let found = differences(*tally, counts, rule);
        total.sent.sent += tally.sent;
        total.sent.unique += tally.unique;
        total.sent.possibly_doubled += tally.possibly_doubled;
        total.counted.add(counts);
        total.agrees &= found.is_empty();
        problems.extend(
            found
                .iter()
                .map(|problem| format!("topic {topic:?}: {problem}")),
        );
        rows.push(Row {
            topic: topic.clone(),
            sent: *tally,
            counted: counts,
            agrees: found.is_empty(),
        });
    }
    if let Rule::Known {
        unique: Some(expected),
    } = rule
        && total.counted.unique_processed != expected
    {
        total.agrees = false;
        let unique = total.counted.unique_processed;
        problems.push(format!(
            "{unique} events were new to the store, expected {expected}"
        ));
    }
    Verdict {
        is_short: rows.iter().any(|row| row.counted.received < row.sent.sent),
        rows,
        total,
        problems,
    }
}

/// The differences of one topic.
fn differences(sent: Tally, counted: Counts, rule: Rule) -> Vec<String> {
    let mut problems = Vec::new();
    let Counts {
        received,
        unique_processed,
        duplicate_dropped,
    } = counted;
    let most = sent.sent + sent.possibly_doubled;
    if received < sent.sent {
        problems.push(format!("received {received} of {} events sent", sent.sent));
    }
    if received > most {
        let more = received - most;
        problems.push(match rule {
            Rule::Fresh { was_used_before: true } => format!(
                "received {more} more than sent: the run id was used before; use another one, or omit it"
            ),
            Rule::Fresh { was_used_before: false } if sent.sent == 0 => format!(
                "received {more}, though this run sent none: another publisher uses the run's topic prefix"
            ),
            Rule::Fresh { was_used_before: false } => format!(
                "received {more} more than sent, though the topic belongs to this run: another publisher uses it, or \
                 events were counted twice"
            ),
            Rule::Known { .. } => format!(
                "received {more} more than sent: another publisher used this topic meanwhile"
            ),
        });
    }
    if unique_processed + duplicate_dropped != received {
        problems.push(format!(
            "unique {unique_processed} + duplicates {duplicate_dropped} do not add up to received {received}"
        ));
    }
    let unique = sent.unique;
    match rule {
        Rule::Fresh { .. } if unique_processed != unique => {
            problems.push(format!("unique {unique_processed}, expected {unique}"));
        }
        Rule::Known { .. } if unique_processed > unique => problems.push(format!(
            "unique {unique_processed}, though only {unique} distinct identities were sent"
        )),
        _ => {}
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Rule = Rule::Fresh {
        was_used_before: false,
    };
    const KNOWN: Rule = Rule::Known { unique: None };

    fn tally(sent: u64, unique: u64, possibly_doubled: u64) -> Tally {
        Tally {
            sent,
            unique,
            possibly_doubled,
        }
    }

    fn counts(received: u64, unique_processed: u64, duplicate_dropped: u64) -> Counts {
        Counts {
            received,
            unique_processed,
            duplicate_dropped,
        }
    }

    fn problems(sent: Tally, counted: Counts, rule: Rule) -> String {
        differences(sent, counted, rule).join("; ")
    }

    #[test]
    fn a_fresh_run_is_exact() {
        assert_eq!(problems(tally(10, 7, 0), counts(10, 7, 3), FRESH), "");
        assert!(problems(tally(10, 7, 0), counts(9, 7, 2), FRESH).contains("received 9 of 10"));
        assert!(problems(tally(10, 7, 0), counts(11, 7, 4), FRESH).contains("counted twice"));
        assert!(
            problems(tally(10, 7, 0), counts(10, 8, 2), FRESH).contains("unique 8, expected 7")
        );
        assert!(
            problems(tally(10, 7, 0), counts(10, 7, 2), FRESH).contains("add up to received 10")
        );
    }

    #[test]
    fn a_reused_run_id_is_reported() {
        let rule = Rule::Fresh {
            was_used_before: true,
        };
        assert!(problems(tally(10, 7, 0), counts(20, 7, 13), rule).contains("used before"));
    }

    #[test]
    fn possible_copies_may_be_received_but_not_stored() {
        for received in 10..=12 {
            let counted = counts(received, 7, received - 7);
            assert_eq!(problems(tally(10, 7, 2), counted, FRESH), "");
        }
        assert_ne!(problems(tally(10, 7, 2), counts(13, 7, 6), FRESH), "");
        assert_ne!(problems(tally(10, 7, 2), counts(12, 8, 4), FRESH), "");
    }

    #[test]
    fn known_events_may_have_been_stored_before() {
        for unique in 0..=7 {
            assert_eq!(
                problems(tally(10, 7, 0), counts(10, unique, 10 - unique), KNOWN),
                ""
            );
        }
        assert!(problems(tally(10, 7, 0), counts(10, 8, 2), KNOWN).contains("distinct"));
        assert!(
            problems(tally(10, 7, 0), counts(12, 7, 5), KNOWN)
                .contains("another publisher used this topic")
        );
    }

    #[test]
    fn topics_are_compared_individually_and_summed() {
        let sent = BTreeMap::from([
            ("a".to_owned(), tally(3, 2, 0)),
            ("b".to_owned(), tally(2, 2, 0)),
        ]);
        let swapped = HashMap::from([
            ("a".to_owned(), counts(2, 2, 0)),
            ("b".to_owned(), counts(3, 2, 1)),
        ]);
        let verdict = compare(&sent, &swapped, FRESH);
        assert_eq!(verdict.total.counted, counts(5, 4, 1));
        assert!(!verdict.total.agrees && verdict.is_short);
        assert_eq!(verdict.problems.len(), 2);

        let verdict = compare(&sent, &HashMap::new(), FRESH);
        assert!(
            verdict.is_short && verdict.problems.len() == 4,
            "{:?}",
            verdict.problems
        );
    }

    #[test]
    fn events_on_a_topic_that_a_fresh_run_did_not_use_are_foreign_traffic() {
        let sent = BTreeMap::from([("p.1".to_owned(), tally(3, 2, 0))]);
        let counted = HashMap::from([
            ("p.1".to_owned(), counts(3, 2, 1)),
            ("p.2".to_owned(), counts(4, 4, 0)),
            ("p.3".to_owned(), Counts::default()),
        ]);
        let verdict = compare(&sent, &counted, FRESH);
        assert!(!verdict.total.agrees && !verdict.is_short);
        assert_eq!(verdict.total.counted, counts(7, 6, 1));
        let problems = verdict.problems.join("\n");
        assert!(
            problems.contains(r#"topic "p.2": received 4"#),
            "{problems}"
        );
        assert!(
            problems.contains("another publisher uses the run's topic prefix"),
            "{problems}"
        );
        assert!(
            !problems.contains("p.1") && !problems.contains("p.3"),
            "{problems}"
        );
    }

    #[test]
    fn an_exact_number_of_new_events_can_be_required() {
        let sent = BTreeMap::from([("a".to_owned(), tally(3, 2, 0))]);
        let counted = HashMap::from([("a".to_owned(), counts(3, 1, 2))]);
        let verdict = |unique| compare(&sent, &counted, Rule::Known { unique });
        assert!(verdict(None).problems.is_empty());
        assert!(verdict(Some(1)).problems.is_empty());
        assert_eq!(verdict(Some(2)).problems.len(), 1);
        assert!(!verdict(Some(0)).total.agrees);
    }
}
