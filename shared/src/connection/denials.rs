//! What the broker does not permit. It reports each refusal once, as an error of the connection, and sends no answer to what was
//! refused: without the report, a request would only time out.

use std::{collections::VecDeque, fmt};

/// Refusals that are remembered. Each waiter looks for its own among them.
const REMEMBERED: usize = 256;

/// Something that the user of the connection may not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// Publish on this subject.
    Publish(String),
    /// Subscribe to this subject, and so receive the answers to requests.
    Subscribe(String),
}

impl Denial {
    /// Reads it from an error of the server.
    pub(super) fn parse(error: &str) -> Option<Self> {
        // After an optional prefix; the subject is quoted.
        let at = error.to_ascii_lowercase().find("permissions violation")?;
        let (what, rest) = error[at..].split_once('"')?;
        let subject = rest.split('"').next()?.to_owned();
        let what = what.to_ascii_lowercase();
        if what.contains("for publish with reply") {
            // The subject on which the answer is expected: not one that this program publishes on.
            return Some(Self::Subscribe(subject));
        }
        Some(if what.contains("for publish") {
            Self::Publish(subject)
        } else if what.contains("for subscription") {
            Self::Subscribe(subject)
        } else {
            return None;
        })
    }

    /// Whether a request to JetStream gets no answer because of it.
    #[must_use]
    pub fn is_of_request(&self) -> bool {
        match self {
            Self::Publish(subject) => subject.starts_with("$JS.API."),
            Self::Subscribe(_) => true,
        }
    }

    /// Whether deliveries cannot be received or acked because of it.
    #[must_use]
    pub fn is_of_delivery(&self) -> bool {
        match self {
            Self::Publish(subject) => {
                subject.starts_with("$JS.API.CONSUMER.MSG.NEXT.") || subject.starts_with("$JS.ACK.")
            }
            Self::Subscribe(_) => true,
        }
    }
}

/// A sentence, with the subject as it would be permitted: that of an ack contains the numbers of its message, and the last token
/// of an inbox is random.
impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the broker does not permit it: this user may not ")?;
        match self {
            Self::Publish(subject) if subject.starts_with("$JS.ACK.") => {
                let consumer: Vec<_> = subject.splitn(5, '.').take(4).collect();
                write!(f, "publish on {}.>", consumer.join("."))
            }
            Self::Publish(subject) => write!(f, "publish on {subject}"),
            Self::Subscribe(subject) => {
                let prefix = subject.split('.').next().unwrap_or(subject);
                if prefix.starts_with("_INBOX") {
                    write!(f, "receive answers on {prefix}.>")
                } else {
                    write!(f, "subscribe to {subject}")
                }
            }
        }
    }
}

/// The refusals of a program's connections, numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Denials {
    count: u64,
    latest: VecDeque<Numbered>,
}

#[derive(Debug)]
struct Numbered {
    number: u64,
    /// The number of the connection that it was reported on, or of a later one.
    connects: u64,
    denial: Denial,
}

impl Denials {
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether a refusal with this text is remembered.
    pub fn contains(&self, text: &str) -> bool {
        self.latest
            .iter()
            .any(|known| known.denial.to_string() == text)
    }

    pub fn add(&mut self, denial: Denial, connects: u64) {
        self.count += 1;
        if self.latest.len() == REMEMBERED {
            self.latest.pop_front();
        }
        self.latest.push_back(Numbered {
            number: self.count,
            connects,
            denial,
        });
    }

    /// A refusal that matches: one after the first `since`, or, because the client subscribes once for each connection, one to
    /// subscribe on the connection `connects`.
    pub fn find(
        &self,
        since: u64,
        connects: u64,
        matches: impl Fn(&Denial) -> bool,
    ) -> Option<&Denial> {
        let mut latest = self.latest.iter().rev();
        let found = latest.find(|known| {
            let lasts = matches!(known.denial, Denial::Subscribe(_)) && known.connects == connects;
            (known.number > since || lasts) && matches(&known.denial)
        });
        found.map(|known| &known.denial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(subject: &str) -> Denial {
        Denial::Publish(subject.to_owned())
    }

    fn subscribe(subject: &str) -> Denial {
        Denial::Subscribe(subject.to_owned())
    }

    #[test]
    fn what_is_denied_is_read_from_the_error() {
        for (error, denied) in [
            (
                "nats: Permissions Violation for Publish to \"events.Ä\"",
                publish("events.Ä"),
            ),
            (
                "Permissions Violation for Publish to \"$JS.API.STREAM.PURGE.EVENTS\"",
                publish("$JS.API.STREAM.PURGE.EVENTS"),
            ),
            (
                "Permissions Violation for Subscription to \"_INBOX_a.b.*\"",
                subscribe("_INBOX_a.b.*"),
            ),
            (
                "Permissions Violation for Subscription to \"a\" using queue \"b\"",
                subscribe("a"),
            ),
            (
                "Permissions Violation for Publish with Reply of \"_INBOX.b\"",
                subscribe("_INBOX.b"),
            ),
        ] {
            assert_eq!(Denial::parse(error), Some(denied));
        }
        for other in ["Maximum Payload Violation", "permissions violation", ""] {
            assert_eq!(Denial::parse(other), None);
        }
    }

    #[test]
    fn a_subject_is_shown_as_it_would_be_permitted() {
        for (denial, subject) in [
            (
                publish("$JS.ACK.EVENTS.aggregator.1.7.7.1700000000.0"),
                "publish on $JS.ACK.EVENTS.aggregator.>",
            ),
            (publish("events.a"), "publish on events.a"),
            (
                subscribe("_INBOX_aggregator.aBc.*"),
                "receive answers on _INBOX_aggregator.>",
            ),
            (subscribe("other.*"), "subscribe to other.*"),
        ] {
            let shown = denial.to_string();
            assert!(shown.ends_with(subject), "{shown}");
        }
    }

    #[test]
    fn each_waiter_finds_its_own_refusal_and_none_from_before() {
        let mut denials = Denials::default();
        denials.add(publish("a"), 1);
        let since = denials.count();
        let is = |subject: &'static str| move |denial: &Denial| *denial == publish(subject);
        assert_eq!(denials.find(since, 1, is("a")), None);
        for subject in ["b", "a", "c"] {
            denials.add(publish(subject), 1);
        }
        for subject in ["a", "b", "c"] {
            assert!(denials.find(since, 1, is(subject)).is_some(), "{subject}");
        }
        for _ in 0..REMEMBERED {
            denials.add(publish("d"), 1);
        }
        assert_eq!(denials.latest.len(), REMEMBERED);
        assert_eq!(denials.find(since, 1, is("a")), None);
    }

    #[test]
    fn answers_that_may_not_be_received_are_missing_until_the_next_connect() {
        let mut denials = Denials::default();
        denials.add(subscribe("_INBOX_a.b.*"), 3);
        let since = denials.count();
        assert!(denials.find(since, 3, Denial::is_of_request).is_some());
        assert!(denials.find(since, 4, Denial::is_of_request).is_none());
    }
}
