//! Events in the requested format.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Format,
    columns::{Align, Columns},
    json,
};
use crate::command_line::visible;

/// Maximum bytes of a payload in a row; a terminal is narrower.
const PREVIEW_BYTES: usize = 1_000;

/// Prints events as they arrive.
#[derive(Debug)]
pub struct Events {
    format: Format,
    table: Columns<5>,
    /// The number of events so far.
    pub count: u64,
}

/// An event, as the aggregator sends it.
#[derive(Deserialize)]
pub struct EventRow<'a> {
    pub topic: String,
    pub event_id: String,
    pub source: String,
    #[serde(borrow)]
    pub payload: &'a RawValue,
    pub processed_at: String,
}

impl Events {
    pub fn new(format: Format) -> Self {
        let head = ["processed_at", "topic", "event_id", "source", "payload"];
        Self {
            format,
            table: Columns::new(head, [Align::Left; 5]),
            count: 0,
        }
    }

    /// Appends an event. A row of a table may be held back until [`Self::flush`].
    pub fn add(&mut self, event: &str, to: &mut Vec<u8>) {
        self.count += 1;
        if self.format != Format::Table {
            json::document(event, self.format, to);
            return;
        }
        let row = match serde_json::from_str::<EventRow>(event) {
            Ok(event) => event.row(),
            // A later aggregator may send something else.
            Err(_) => ["", "", "", "", event].map(visible),
        };
        if self.table.add(row) {
            self.table.print(to);
        }
    }

    /// Appends the rows that were held back.
    pub fn flush(&mut self, to: &mut Vec<u8>) {
        if self.format == Format::Table && self.count > 0 {
            self.table.print(to);
        }
    }
}

impl EventRow<'_> {
    fn row(&self) -> [String; 5] {
        let payload = self.payload.get();
        let preview = &payload[..payload.floor_char_boundary(PREVIEW_BYTES)];
        [
            seconds(&self.processed_at),
            visible(&self.topic),
            visible(&self.event_id),
            visible(&self.source),
            visible(&preview.replace(['\r', '\n', '\t'], " ")),
        ]
    }
}

/// A UTC time of the aggregator without fractions of a second.
pub fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => visible(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"topic":"orders","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"shop","payload":{"amount": 1.50},"processed_at":"2026-11-23T22:10:00.123456Z"}"#;

    fn printed(format: Format, events: &[&str]) -> String {
        let (mut printer, mut text) = (Events::new(format), Vec::new());
        for event in events {
            printer.add(event, &mut text);
        }
        printer.flush(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn an_event_is_printed_in_each_format() {
        assert_eq!(printed(Format::Json, &[EVENT]), format!("{EVENT}\n"));
        let pretty = printed(Format::Pretty, &[EVENT]);
        assert!(pretty.contains("\n    \"amount\": 1.50\n"), "{pretty}");
        assert_eq!(
            printed(Format::Table, &[EVENT]),
            "processed_at          topic   event_id  source  payload\n\
             2026-11-23T22:10:00Z  orders  1         shop    {\"amount\": 1.50}\n"
        );
    }

    #[test]
    fn without_events_there_is_no_table() {
        assert_eq!(printed(Format::Table, &[]), "");
    }

    #[test]
    fn a_name_cannot_change_the_terminal() {
        let event = EVENT.replace("orders", "\\u001b[31mred\\n\u{202e}");
        let text = printed(Format::Table, &[&event]);
        assert!(text.contains(r"\u{1b}[31mred\n\u{202e}  1"), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}
