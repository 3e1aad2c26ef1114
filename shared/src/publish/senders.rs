//! The header that says who sent the events of a message, by the names of their tokens.

use std::{fmt::Write as _, sync::Arc};

/// The names of the senders of a message's events, in the order of the events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Senders {
    /// How many events follow each other of one sender; `None` if it is not known.
    runs: Vec<(usize, Option<Arc<str>>)>,
    bytes: usize,
}

/// The name of the header. Its value lists runs of events, separated by commas: a name, `*` and the number of events. Events
/// whose sender is not known have an empty name.
pub const HEADER: &str = "Sent-By";

/// Longest value of the header.
pub(super) const MAX_BYTES: usize = 2 * 1024;

/// Digits of a number of events, and the characters around it.
const RUN_BYTES: usize = 12;

impl Senders {
    /// Adds the next events, which are of one sender.
    pub fn add(&mut self, sender: Option<&Arc<str>>, events: usize) {
        if let Some((count, last)) = self.runs.last_mut()
            && last.as_ref() == sender
        {
            // Of a header that is parsed, they can be any number.
            *count = count.saturating_add(events);
            return;
        }
        self.bytes += Self::bytes(sender);
        self.runs.push((events, sender.cloned()));
    }

    /// Whether the header has room for events of a sender.
    pub(super) fn has_room(&self, sender: Option<&Arc<str>>) -> bool {
        let is_last = self
            .runs
            .last()
            .is_some_and(|(_, last)| last.as_ref() == sender);
        is_last || self.bytes + Self::bytes(sender) <= MAX_BYTES
    }

    fn bytes(sender: Option<&Arc<str>>) -> usize {
        RUN_BYTES + sender.map_or(0, |sender| sender.len())
    }

    /// The value of the header; `None` if no sender is known.
    #[must_use]
    pub fn to_header(&self) -> Option<String> {
        if self.runs.iter().all(|(_, sender)| sender.is_none()) {
            return None;
        }
        let mut text = String::with_capacity(self.bytes);
        for (index, (events, sender)) in self.runs.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let sender = sender.as_deref().unwrap_or_default();
            write!(text, "{comma}{sender}*{events}").expect("writing to memory cannot fail");
        }
        Some(text)
    }

    /// Parses the value of a header. What any client of the broker may have written is not trusted to be valid: then no sender is
    /// known.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut senders = Self::default();
        if text.len() > MAX_BYTES {
            return senders;
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        for run in text.split(',') {
            let parsed = run.split_once('*').and_then(|(name, events)| {
                let is_name = name.len() <= 64 && name.bytes().all(is_plain);
                let events = events.parse().ok()?;
                is_name.then_some((name, events))
            });
            let Some((name, events)) = parsed else {
                return Self::default();
            };
            let name = (!name.is_empty()).then(|| Arc::from(name));
            senders.add(name.as_ref(), events);
        }
        senders
    }

    /// The sender of the event at a position in the message, from 0, if it is known.
    #[must_use]
    pub fn of(&self, position: usize) -> Option<&str> {
        let mut end = 0_usize;
        let mut runs = self.runs.iter();
        let run = runs.find(|(events, _)| {
            end = end.saturating_add(*events);
            position < end
        });
        run.and_then(|(_, sender)| sender.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn runs_of_one_sender_are_written_as_one() {
        let [a, b] = ["a", "b-1"].map(Arc::<str>::from);
        let mut senders = Senders::default();
        senders.add(None, 2);
        assert_eq!(senders.to_header(), None);
        for (sender, events) in [(Some(&a), 1), (Some(&a), 2), (Some(&b), 1), (None, 1)] {
            senders.add(sender, events);
        }
        assert_eq!(senders.to_header().as_deref(), Some("*2,a*3,b-1*1,*1"));
        let of: Vec<_> = (0..9).map(|position| senders.of(position)).collect();
        let expected = [
            None,
            None,
            Some("a"),
            Some("a"),
            Some("a"),
            Some("b-1"),
            None,
            None,
            None,
        ];
        assert_eq!(of, expected);
    }

    #[test]
    fn the_numbers_of_a_header_may_be_as_large_as_they_like() {
        let most = usize::MAX;
        let senders = Senders::parse(&format!("a*{most},a*{most},b*1"));
        assert_eq!(senders.of(most - 1), Some("a"));
    }

    #[test]
    fn a_header_that_is_not_valid_names_nobody() {
        let long = format!("{}*1", "a".repeat(65));
        for text in [
            "", "a", "a*", "a*x", "a*-1", "a b*1", "ä*1", "a*1,", "a*1;b*1", &long,
        ] {
            assert_eq!(Senders::parse(text), Senders::default(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(runs in prop::collection::vec((1..100_usize, "[a-c]?"), 1..60)) {
            let mut senders = Senders::default();
            let mut all = Vec::new();
            for (events, name) in runs {
                let name = (!name.is_empty()).then(|| Arc::<str>::from(name));
                if senders.has_room(name.as_ref()) {
                    senders.add(name.as_ref(), events);
                    all.extend(vec![name; events]);
                }
            }
            if let Some(text) = senders.to_header() {
                prop_assert!(text.len() <= MAX_BYTES);
                let read = Senders::parse(&text);
                for (position, name) in all.iter().enumerate() {
                    prop_assert_eq!(read.of(position), name.as_deref());
                }
                prop_assert_eq!(read.of(all.len()), None);
            }
        }
    }
}
