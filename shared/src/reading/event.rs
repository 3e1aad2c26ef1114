//! `event`: one event by its identity, with its number of duplicates.

use std::fmt::Write;

use indicatif::HumanCount;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::AsyncWrite;

use super::{Event, Format, document, json, output::Output};
use crate::{
    api::{Api, ApiError},
    command_line::visible,
};

/// The answer of `GET /event`.
#[derive(Deserialize)]
struct Found<'a> {
    #[serde(borrow)]
    event: StoredEvent<'a>,
    sequence: i64,
    stream_sequence: u64,
    position: u64,
    duplicates: Duplicates,
}

#[derive(Deserialize)]
struct StoredEvent<'a> {
    topic: String,
    event_id: String,
    timestamp: String,
    #[serde(default)]
    timestamp_filled: bool,
    source: String,
    #[serde(borrow)]
    payload: &'a RawValue,
    processed_at: String,
}

#[derive(Deserialize)]
struct Duplicates {
    at_least: u64,
    at_most: u64,
}

/// Prints the event.
///
/// # Errors
/// If there is no answer, or no such event.
pub async fn event(
    api: &Api,
    event: &Event,
    format: Format,
    output: &mut Output<impl AsyncWrite + Unpin>,
) -> anyhow::Result<()> {
    let url = api.url("event", &[("topic", &event.topic), ("event_id", &event.id)]);
    let body = api.read(url.clone()).await?;
    let unexpected = |err| ApiError::not_an_aggregator(&url, format!("an unexpected body ({err})"));
    let found: &RawValue = serde_json::from_slice(&body).map_err(unexpected)?;
    if format == Format::Table {
        let found: Found = serde_json::from_str(found.get()).map_err(unexpected)?;
        found.table(output.text());
        return Ok(output.flush().await?);
    }
    Ok(document(found.get(), format, output).await?)
}

impl Found<'_> {
    fn table(&self, to: &mut Vec<u8>) {
        let event = &self.event;
        let filled = if event.timestamp_filled {
            " (filled in on arrival)"
        } else {
            ""
        };
        let mut text = String::new();
        for (name, value) in [
            ("topic", visible(&event.topic)),
            ("event_id", visible(&event.event_id)),
            (
                "timestamp",
                format!("{}{filled}", visible(&event.timestamp)),
            ),
            ("source", visible(&event.source)),
            ("processed_at", visible(&event.processed_at)),
            (
                "sequence",
                HumanCount(self.sequence.unsigned_abs()).to_string(),
            ),
            (
                "in the stream",
                format!(
                    "message {}, position {}",
                    HumanCount(self.stream_sequence),
                    HumanCount(self.position)
                ),
            ),
            ("duplicates", self.duplicates.to_text()),
        ] {
            let _ = writeln!(text, "{name:<13}  {value}");
        }
        to.extend_from_slice(text.as_bytes());
        to.extend_from_slice(b"payload        ");
        json::indented(event.payload.get(), &" ".repeat(15), to);
        to.push(b'\n');
    }
}

impl Duplicates {
    fn to_text(&self) -> String {
        let (least, most) = (HumanCount(self.at_least), HumanCount(self.at_most));
        match (self.at_least, self.at_most) {
            (least, most) if least == most => HumanCount(most).to_string(),
            (0, _) => format!("at most {most}"),
            _ => format!("{least} to {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_found_event_is_shown_with_its_place_and_its_duplicates() {
        let json = r#"{"event":{"topic":"orders","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"shop",
            "payload":{"amount": 1.50},"processed_at":"2026-11-23T22:10:00.000000Z"},"sequence":14001,"stream_sequence":92,
            "position":0,"duplicates":{"at_least":1,"at_most":3}}"#;
        let mut text = Vec::new();
        serde_json::from_str::<Found>(json)
            .unwrap()
            .table(&mut text);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "topic          orders\n\
             event_id       1\n\
             timestamp      2026-01-31T12:00:00Z\n\
             source         shop\n\
             processed_at   2026-11-23T22:10:00.000000Z\n\
             sequence       14,001\n\
             in the stream  message 92, position 0\n\
             duplicates     1 to 3\n\
             payload        {\n                 \"amount\": 1.50\n               }\n"
        );
    }

    #[test]
    fn the_number_of_duplicates_is_as_exact_as_it_is_known() {
        let text = |at_least, at_most| Duplicates { at_least, at_most }.to_text();
        assert_eq!(text(0, 0), "0");
        assert_eq!(text(2, 2), "2");
        assert_eq!(text(0, 1_000), "at most 1,000");
        assert_eq!(text(1, 3), "1 to 3");
    }
}
