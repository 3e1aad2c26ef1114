//! `topics`: the topics with their counts.

use indicatif::HumanCount;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::AsyncWrite;

use super::{
    Format, Topics,
    columns::{Align, Columns},
    events::seconds,
    json,
    output::Output,
};
use crate::{
    api::{Api, ApiError},
    command_line::{say, visible},
};

/// Maximum number of topics of a page.
const PAGE_LIMIT: u64 = 1_000;

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    topics: Vec<&'a RawValue>,
    next_cursor: Option<String>,
    #[serde(default)]
    partial: bool,
}

#[derive(Deserialize)]
struct TopicCounts {
    topic: String,
    received: u64,
    unique_processed: u64,
    duplicate_dropped: u64,
    first_at: String,
    last_at: String,
}

/// Prints the topics, page by page.
///
/// # Errors
/// If there is no answer.
pub async fn topics(
    api: &Api,
    topics: &Topics,
    format: Format,
    output: &mut Output<impl AsyncWrite + Unpin>,
) -> anyhow::Result<()> {
    let mut table = Columns::new(
        [
            "topic",
            "received",
            "unique_processed",
            "duplicate_dropped",
            "duplicate_share",
            "first_at",
            "last_at",
        ],
        [
            Align::Left,
            Align::Right,
            Align::Right,
            Align::Right,
            Align::Right,
            Align::Left,
            Align::Left,
        ],
    );
    let (mut left, mut count, mut cursor) = (topics.limit.unwrap_or(u64::MAX), 0, None);
    while left > 0 {
        let mut parameters = topics.parameters();
        parameters.push(("limit", left.min(PAGE_LIMIT).to_string()));
        parameters.extend(cursor.clone().map(|cursor| ("cursor", cursor)));
        let parameters: Vec<_> = parameters
            .iter()
            .map(|(name, value)| (name, value.as_str()))
            .collect();
        let url = api.url("topics", &parameters);
        let body = api.read(url.clone()).await?;
        let unexpected =
            |err| ApiError::not_an_aggregator(&url, format!("an unexpected body ({err})"));
        let page: Page = serde_json::from_slice(&body).map_err(unexpected)?;
        for topic in &page.topics {
            if format == Format::Table {
                let counts =
                    serde_json::from_str::<TopicCounts>(topic.get()).map_err(unexpected)?;
                if table.add(counts.row()) {
                    table.print(output.text());
                }
            } else {
                json::document(topic.get(), format, output.text());
            }
        }
        output.write().await?;
        count += page.topics.len();
        left -= left.min(page.topics.len() as u64);
        if page.partial {
            say("not all topics could be searched in time: others may belong before these");
        }
        // A cursor that does not advance would loop forever.
        match page.next_cursor {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => break,
        }
    }
    if format == Format::Table {
        if count == 0 {
            say("no topics match");
        } else {
            table.print(output.text());
        }
    }
    Ok(output.flush().await?)
}

impl TopicCounts {
    fn row(&self) -> [String; 7] {
        let tenths = u128::from(self.duplicate_dropped) * 1_000 / u128::from(self.received.max(1));
        [
            visible(&self.topic),
            HumanCount(self.received).to_string(),
            HumanCount(self.unique_processed).to_string(),
            HumanCount(self.duplicate_dropped).to_string(),
            format!("{}.{} %", tenths / 10, tenths % 10),
            seconds(&self.first_at),
            seconds(&self.last_at),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_counts_and_the_share_of_duplicates() {
        let counts = TopicCounts {
            topic: "a\tb".to_owned(),
            received: 3_000,
            unique_processed: 2_000,
            duplicate_dropped: 1_000,
            first_at: "2026-11-23T22:10:00.000000Z".to_owned(),
            last_at: "2026-11-23T22:11:00.500000Z".to_owned(),
        };
        assert_eq!(
            counts.row(),
            [
                "a\\tb",
                "3,000",
                "2,000",
                "1,000",
                "33.3 %",
                "2026-11-23T22:10:00Z",
                "2026-11-23T22:11:00Z"
            ]
        );
    }
}
