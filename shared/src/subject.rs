//! The reversible mapping between a topic and its subject.
//!
//! Dots separate the tokens of a subject as they separate the parts of a topic: `user.login` maps to
//! `events.user.login`, so permissions and subscriptions on `events.user.>` work as expected. All other characters except
//! ASCII letters, digits, `-` and `_` are percent-encoded, and so is a dot that would leave a token empty.
//!
//! A message on the bare subject `events` may hold events of any topics.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::event::Topic;

/// The subject of messages whose events may be of any topics. A client that may publish on it may publish every
/// topic.
pub const MIXED: &str = "events";

/// The prefix of every other subject of the stream.
pub const PREFIX: &str = "events.";

/// The topics whose events a message may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// All topics.
    Any,
    /// One topic.
    Only(Topic),
    /// None: no topic maps to the subject.
    None,
}

impl Carried {
    /// What a message on a subject may hold.
    #[must_use]
    pub fn on(subject: &str) -> Self {
        if subject == MIXED {
            return Self::Any;
        }
        topic(subject).map_or(Self::None, Self::Only)
    }

    /// Whether events of a topic are among them.
    #[must_use]
    pub fn includes(&self, topic: &Topic) -> bool {
        match self {
            Self::Any => true,
            Self::Only(only) => only == topic,
            Self::None => false,
        }
    }
}

const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// The subject that carries the events of `topic`: at most 772 bytes, since a topic has at most 255.
#[must_use]
pub fn of(topic: &Topic) -> String {
    let text = topic.as_str();
    let bytes = text.as_bytes();
    let mut subject = String::with_capacity(PREFIX.len() + text.len());
    subject.push_str(PREFIX);
    let mut start = 0;
    for (at, _) in text.match_indices('.') {
        subject.extend(utf8_percent_encode(&text[start..at], PLAIN));
        let before = at.checked_sub(1).map(|i| bytes[i]);
        let after = bytes.get(at + 1).copied();
        let separates = [before, after]
            .iter()
            .all(|neighbour| neighbour.is_some_and(|byte| byte != b'.'));
        subject.push_str(if separates { "." } else { "%2E" });
        start = at + 1;
    }
    subject.extend(utf8_percent_encode(&text[start..], PLAIN));
    subject
}

/// The topic of a subject, or `None` if no topic maps to it.
#[must_use]
pub fn topic(subject: &str) -> Option<Topic> {
    let text = percent_decode_str(subject.strip_prefix(PREFIX)?)
        .decode_utf8()
        .ok()?;
    let topic = Topic::new(&text).ok()?;
    (of(&topic) == subject).then_some(topic)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subject(topic: &str) -> String {
        of(&Topic::new(topic).unwrap())
    }

    #[test]
    fn a_dot_separates_tokens_unless_it_would_leave_one_empty() {
        assert_eq!(subject("user.login"), "events.user.login");
        assert_eq!(subject(".a"), "events.%2Ea");
        assert_eq!(subject("a."), "events.a%2E");
        assert_eq!(subject("a..b"), "events.a%2E%2Eb");
        assert_eq!(subject("."), "events.%2E");
        assert_eq!(subject("a.b..c.d"), "events.a.b%2E%2Ec.d");
    }

    #[test]
    fn characters_not_allowed_in_a_subject_are_percent_encoded() {
        assert_eq!(subject("a b>*ä%"), "events.a%20b%3E%2A%C3%A4%25");
        assert_eq!(subject("a-b_C9"), "events.a-b_C9");
    }

    #[test]
    fn the_bare_subject_carries_all_topics_and_others_at_most_one() {
        let [a, b] = ["a", "b"].map(|topic| Topic::new(topic).unwrap());
        for (subject, has_a, has_b) in [
            ("events", true, true),
            ("events.a", true, false),
            ("events.", false, false),
            ("event", false, false),
            ("Events", false, false),
        ] {
            let carried = Carried::on(subject);
            let has = (carried.includes(&a), carried.includes(&b));
            assert_eq!(has, (has_a, has_b), "{subject}");
        }
    }

    #[test]
    fn a_subject_to_which_no_topic_maps_has_no_topic() {
        for foreign in [
            "other.a",
            "events.",
            "events.%61",
            "events.a%2eb",
            "events.%FF",
        ] {
            assert_eq!(topic(foreign), None, "{foreign}");
        }
    }

    /// Whether nats-server accepts it for publishing: no empty token, wildcard, white space or control character.
    fn is_legal(subject: &str) -> bool {
        subject.split('.').all(|token| {
            !token.is_empty()
                && token
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b'*' && byte != b'>')
        })
    }

    proptest! {
        #[test]
        fn any_topic_maps_to_a_legal_subject_and_back(text in "(?s).{1,60}|[.a]{1,9}") {
            let topic_in = Topic::new(&text).unwrap();
            let subject = of(&topic_in);
            prop_assert!(is_legal(&subject), "{}", subject);
            prop_assert_eq!(topic(&subject), Some(topic_in));
        }
    }
}
