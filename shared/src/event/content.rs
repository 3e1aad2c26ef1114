//! Comparison of two events with the same identity.

use super::{Event, Instant, cloudevent};

/// The stored content of an event, without its identity. In a damaged row it may be any bytes.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// `None` if it was filled in on arrival and therefore is not part of the content.
    pub timestamp: Option<&'a [u8]>,
    /// The producer of the event.
    pub source: &'a [u8],
    /// The event's data, a JSON object.
    pub payload: &'a [u8],
}

impl Event {
    /// Returns the first field that differs from the content stored under the same identity.
    ///
    /// Timestamps are compared as instants, unless one of them was filled in on arrival. Source and payload are compared
    /// byte for byte, except for the payloads of `CloudEvents`: see [`cloudevent::is_same_payload`].
    #[must_use]
    pub fn differing(&self, stored: &Content<'_>) -> Option<&'static str> {
        let is_payload = self.payload.as_bytes() == stored.payload
            || cloudevent::is_same_payload(&self.event_id, self.payload.as_bytes(), stored.payload);
        if !self.is_at(stored.timestamp) {
            Some("timestamp")
        } else if self.source.as_str().as_bytes() != stored.source {
            Some("source")
        } else if !is_payload {
            Some("payload")
        } else {
            None
        }
    }

    fn is_at(&self, stored: Option<&[u8]>) -> bool {
        let own = self.timestamp.as_str().as_bytes();
        match stored {
            Some(stored) if !self.timestamp.is_filled() && stored != own => {
                let instants = [own, stored].map(Instant::of_stored);
                instants[0].is_some() && instants[0] == instants[1]
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn event(timestamp: &str) -> Event {
        let json = format!(
            r#"{{"topic":"t","event_id":"1","timestamp":{timestamp},"source":"s","payload":{{"a":1}}}}"#
        );
        Event::parse_arrived(&Bytes::from(json), 7).unwrap()
    }

    fn stored(timestamp: &str) -> Content<'_> {
        Content {
            timestamp: Some(timestamp.as_bytes()),
            source: b"s",
            payload: br#"{"a":1}"#,
        }
    }

    #[test]
    fn timestamps_are_compared_as_instants() {
        let event = event(r#""2026-01-31T12:00:42.58Z""#);
        for same in [
            "2026-01-31T12:00:42.58Z",
            "2026-01-31t12:00:42.5800000+00:00",
            "2026-01-31T13:00:42.58+01:00",
            "2026-02-01T00:00:42.58000000000000000000+12:00",
            // Accepted by an earlier version.
            "2026-01-31 12:00:42.58Z",
        ] {
            assert_eq!(event.differing(&stored(same)), None, "{same}");
        }
        for other in [
            "2026-01-31T12:00:42.580000000001Z",
            "2026-01-31T12:00:42.058Z",
            "2026-01-31T12:00:42.58+01:00",
            "yesterday",
            "",
        ] {
            assert_eq!(
                event.differing(&stored(other)),
                Some("timestamp"),
                "{other}"
            );
        }
    }

    #[test]
    fn a_timestamp_filled_in_on_arrival_is_not_compared() {
        let filled = event("null");
        assert_eq!(filled.differing(&stored("2026-01-31T12:00:00Z")), None);
        let given = event(r#""2026-01-31T12:00:00Z""#);
        let stored = Content {
            timestamp: None,
            ..stored("")
        };
        assert_eq!(given.differing(&stored), None);
    }

    #[test]
    fn source_and_payload_are_compared_byte_for_byte() {
        let event = event(r#""2026-01-31T12:00:00Z""#);
        let stored = stored("2026-01-31T12:00:00.0Z");
        let (source, payload) = (b"S".as_slice(), br#"{"a": 1}"#.as_slice());
        assert_eq!(
            event.differing(&Content { source, ..stored }),
            Some("source")
        );
        assert_eq!(
            event.differing(&Content { payload, ..stored }),
            Some("payload")
        );
    }
}
