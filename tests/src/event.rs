//! Events as text, so that only the test decides how they are written.

use std::ops::Range;

/// An event whose timestamp and payload are sent verbatim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its topic.
    pub topic: String,
    /// Its id within the topic.
    pub event_id: String,
    /// Its time.
    pub timestamp: String,
    /// Its source.
    pub source: String,
    /// Its payload, the text of a JSON object.
    pub payload: String,
}

/// An event with a small payload.
pub fn event(topic: &str, event_id: &str) -> Event {
    Event {
        topic: topic.to_owned(),
        event_id: event_id.to_owned(),
        timestamp: "2026-01-31T12:00:00Z".to_owned(),
        source: "e2e".to_owned(),
        payload: r#"{"n":1}"#.to_owned(),
    }
}

/// Events of one topic, with ids made from the numbers.
pub fn events(topic: &str, numbers: Range<u32>) -> Vec<Event> {
    let ids = numbers.map(|number| format!("id-{number}"));
    ids.map(|id| event(topic, &id)).collect()
}

impl Event {
    /// With another payload, the text of a JSON object.
    #[must_use]
    pub fn with_payload(mut self, payload: &str) -> Self {
        payload.clone_into(&mut self.payload);
        self
    }

    /// With another time.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: &str) -> Self {
        timestamp.clone_into(&mut self.timestamp);
        self
    }

    /// From another source.
    #[must_use]
    pub fn with_source(mut self, source: &str) -> Self {
        source.clone_into(&mut self.source);
        self
    }

    /// With a payload that makes its JSON exactly this long.
    #[must_use]
    pub fn with_size(mut self, bytes: usize) -> Self {
        r#"{"p":""}"#.clone_into(&mut self.payload);
        let filler = "x".repeat(bytes - self.json().len());
        self.payload = format!(r#"{{"p":"{filler}"}}"#);
        self
    }

    /// Its JSON.
    pub fn json(&self) -> String {
        let quoted = |text: &str| serde_json::to_string(text).expect("text is JSON");
        format!(
            r#"{{"topic":{},"event_id":{},"timestamp":{},"source":{},"payload":{}}}"#,
            quoted(&self.topic),
            quoted(&self.event_id),
            quoted(&self.timestamp),
            quoted(&self.source),
            self.payload
        )
    }
}

/// The JSON array of these events.
pub fn array(events: &[Event]) -> String {
    let events: Vec<_> = events.iter().map(Event::json).collect();
    format!("[{}]", events.join(","))
}
