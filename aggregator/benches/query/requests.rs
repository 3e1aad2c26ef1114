//! What is asked: kinds of requests, each with paths that are asked in turn.

use anyhow::{Context, ensure};
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use serde::Deserialize;

use crate::{
    api::Api,
    settings::TOPICS,
    traffic::{RARE, topic_names},
};

/// So many places in the history are enough, once they are of so many topics.
const CURSORS: usize = 500;
const CURSOR_TOPICS: usize = 4;

/// A kind of request.
#[derive(Debug)]
pub struct Request {
    /// For people.
    pub name: &'static str,
    /// Asked one after the other, then again from the first.
    pub paths: Vec<String>,
}

/// A page, as far as it matters here.
#[derive(Deserialize)]
struct Page {
    events: Vec<serde::de::IgnoredAny>,
    next_cursor: Option<String>,
}

/// All kinds. Cursors are found as anyone would, by paging from the newest event to the oldest.
pub async fn find(api: &Api) -> anyhow::Result<Vec<Request>> {
    let mut random = SmallRng::seed_from_u64(3);
    let mut topics = topic_names(TOPICS);
    topics.shuffle(&mut random);
    let newest = topics.iter().map(|topic| format!("/events?topic={topic}"));
    let newest = newest.collect();

    let (mut by_topic, mut over_all) = (Vec::new(), Vec::new());
    for (walked, topic) in topics.iter().enumerate() {
        if by_topic.len() >= CURSORS && walked >= CURSOR_TOPICS {
            break;
        }
        for cursor in cursors(api, topic).await? {
            by_topic.push(format!("/events?topic={topic}&cursor={cursor}"));
            // A cursor is a place in the whole history, whichever topic it was found in.
            over_all.push(format!("/events?cursor={cursor}"));
        }
    }
    by_topic.shuffle(&mut random);
    over_all.shuffle(&mut random);
    let rare = format!("/events?topic={RARE}");
    let page: Page = serde_json::from_slice(&api.get(&rare).await?)?;
    ensure!(!page.events.is_empty(), "the rare topic has no event");
    let request = |name, paths| Request { name, paths };
    Ok(vec![
        request("/events?topic=", newest),
        request("/events?topic=&cursor=", by_topic),
        request("/events?cursor=", over_all),
        request("/events?topic=<rare>", vec![rare]),
        request("/stats", vec!["/stats".to_owned()]),
        request("/topics", vec!["/topics".to_owned()]),
    ])
}

/// The cursors of a topic's pages, from its newest event to its oldest.
async fn cursors(api: &Api, topic: &str) -> anyhow::Result<Vec<String>> {
    let first = format!("/events?topic={topic}&limit=1000");
    let mut found: Vec<String> = Vec::new();
    loop {
        let path = match found.last() {
            None => first.clone(),
            Some(cursor) => format!("{first}&cursor={cursor}"),
        };
        let page: Page = serde_json::from_slice(&api.get(&path).await?)
            .with_context(|| format!("reading a page of {topic}"))?;
        match page.next_cursor {
            Some(cursor) => found.push(cursor),
            None => return Ok(found),
        }
    }
}
