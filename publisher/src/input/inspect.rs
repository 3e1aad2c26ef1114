//! The first pass: validates every event and collects the topics.

use std::{collections::HashMap, io};

use bytes::Bytes;
use shared::event::{Event, Topic, Violation};

use super::{
    CandidateCounts, Input, InputError, Origin, Place,
    repeats::{Identities, Repeats},
};

/// Maximum number of invalid candidates reported with their reasons.
const MAX_REASONS: usize = 20;

/// The contents of all inputs.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Valid events.
    pub events: u64,
    /// Candidates that are not valid events.
    pub invalid: u64,
    /// The first of the invalid ones: input, location and reason.
    pub reasons: Vec<String>,
    /// The topics of the valid events, in order of first occurrence.
    pub topics: Vec<Topic>,
    /// The index of each topic in `topics`.
    pub(super) index: HashMap<Topic, usize>,
    /// Which of the valid events repeat an earlier one.
    pub(super) repeats: Repeats,
}

/// Reads all inputs to their ends.
///
/// # Errors
/// If one of them cannot be opened or read to its end.
pub fn inspect(origins: &[Origin]) -> Result<(Vec<Input>, Inspection), InputError> {
    let mut inspection = Inspection::default();
    let mut identities = Identities::new();
    let mut inputs = Vec::with_capacity(origins.len());
    for origin in origins {
        let mut input = Input::open(origin)?;
        inspection.add(&mut input, &mut identities)?;
        inputs.push(input);
    }
    inspection.repeats = identities.repeats().map_err(not_written)?;
    Ok((inputs, inspection))
}

fn not_written(source: io::Error) -> InputError {
    InputError::Identities {
        directory: std::env::temp_dir(),
        source,
    }
}

impl Inspection {
    fn add(&mut self, input: &mut Input, identities: &mut Identities) -> Result<(), InputError> {
        let name = input.name.clone();
        let (events, invalid) = (self.events, self.invalid);
        input.read(&mut |place, candidate| {
            match candidate.and_then(|json| event(&json)) {
                Ok(event) => {
                    self.events += 1;
                    identities.add(&event).map_err(not_written)?;
                    if !self.index.contains_key(&event.topic) {
                        self.index.insert(event.topic.clone(), self.topics.len());
                        self.topics.push(event.topic);
                    }
                }
                Err(reason) => self.refuse(&name, place, &reason),
            }
            Ok(())
        })?;
        input.inspected = CandidateCounts {
            events: self.events - events,
            invalid: self.invalid - invalid,
        };
        Ok(())
    }

    fn refuse(&mut self, name: &str, place: Place, reason: &str) {
        self.invalid += 1;
        if self.reasons.len() < MAX_REASONS {
            // In NDJSON the parser sees one line at a time, so its line is always 1.
            let reason = match place {
                Place::Line(_) => reason.replace("at line 1 column", "at column"),
                Place::Element(_) => reason.to_owned(),
            };
            self.reasons.push(format!("{name}:{place}: {reason}"));
        }
    }
}

/// Parses a candidate, or returns everything that is wrong with it.
pub(super) fn event(json: &Bytes) -> Result<Event, String> {
    Event::parse(json).map_err(|violations| {
        let all: Vec<_> = violations
            .iter()
            .take(5)
            .map(Violation::to_string)
            .collect();
        // The name of an unknown field may be as long as an event.
        all.join("; ").chars().take(500).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::{super::tests::input, *};

    fn inspected(content: &str) -> Inspection {
        let mut inspection = Inspection::default();
        let mut input = input(content.as_bytes());
        inspection.add(&mut input, &mut Identities::new()).unwrap();
        inspection
    }

    fn json(topic: &str) -> String {
        format!(
            r#"{{"topic":"{topic}","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{{}}}}"#
        )
    }

    #[test]
    fn invalid_lines_are_reported_with_locations_and_reasons() {
        let found = inspected(&format!(
            "{}\n{{\"topic\":\n\n[]\n{}\n",
            json("a"),
            json("")
        ));
        assert_eq!((found.events, found.invalid), (1, 3));
        let starts = [
            "test:2: EOF while parsing a value at column 9",
            "test:4: ",
            "test:5: topic: must not be empty",
        ];
        for (reason, start) in found.reasons.iter().zip(starts) {
            assert!(reason.starts_with(start), "{reason}");
        }
        let found = inspected(&format!("[{}, 3]", json("a")));
        assert!(
            found.reasons[0].starts_with("test:element 2: "),
            "{:?}",
            found.reasons
        );
    }

    #[test]
    fn all_invalid_lines_are_counted_and_the_first_are_reported() {
        let found = inspected(&"x\n".repeat(1_000));
        assert_eq!((found.invalid, found.reasons.len()), (1_000, MAX_REASONS));
    }

    #[test]
    fn each_topic_is_listed_once() {
        let found = inspected(&[json("b"), json("a"), json("b")].join("\n"));
        let names: Vec<_> = found.topics.iter().map(Topic::as_str).collect();
        assert_eq!(names, ["b", "a"]);
    }
}
