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
    /// It is asked at least so often.
    pub least: u64,
}

/// So often that a percentile of 99 means something.
const OFTEN: u64 = 1_000;

/// Of requests that take as long as they may.
const SELDOM: u64 = 50;

/// A page, as far as it matters here.
#[derive(Deserialize)]
struct Page {
    events: Vec<Identity>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Identity {
    topic: String,
    event_id: String,
}

/// All kinds. Cursors are found as anyone would, by paging from the newest event to the oldest.
pub async fn find(api: &Api) -> anyhow::Result<Vec<Request>> {
    let mut random = SmallRng::seed_from_u64(3);
    let mut topics = topic_names(TOPICS);
    topics.shuffle(&mut random);
    let newest = topics.iter().map(|topic| format!("/events?topic={topic}"));
    let newest = newest.collect();

    let mut by_topic = Vec::new();
    for (walked, topic) in topics.iter().enumerate() {
        if by_topic.len() >= CURSORS && walked >= CURSOR_TOPICS {
            break;
        }
        let question = format!("/events?topic={topic}");
        for cursor in cursors(api, &question).await?.0 {
            by_topic.push(format!("{question}&cursor={cursor}"));
        }
    }
    by_topic.shuffle(&mut random);
    let (over_all, identities) = cursors(api, "/events?order=desc").await?;
    let over_all = over_all
        .iter()
        .map(|cursor| format!("/events?cursor={cursor}"));
    let mut over_all: Vec<_> = over_all.collect();
    over_all.shuffle(&mut random);
    let event = |Identity { topic, event_id }: Identity| {
        format!("/event?topic={topic}&event_id={event_id}")
    };
    let mut one: Vec<_> = identities.into_iter().map(event).collect();
    one.shuffle(&mut random);
    let [first, second, third] = [&topics[0], &topics[1], &topics[2]];
    let merged = format!("/events?topic={first}&topic={second}&topic={third}&order=asc");
    let rare = format!("/events?topic={RARE}");
    let page: Page = serde_json::from_slice(&api.get(&rare).await?)?;
    ensure!(!page.events.is_empty(), "the rare topic has no event");
    let asked = |name, paths, least| Request { name, paths, least };
    let request = |name, paths| asked(name, paths, OFTEN);
    let nowhere = vec!["/events?contains=nowhere".to_owned()];
    Ok(vec![
        request("/events?topic=", newest),
        request("/events?topic=&cursor=", by_topic),
        request("/events?cursor=", over_all),
        request("/events?topic=<rare>", vec![rare]),
        request("/events?topic=&topic=&topic=&order=asc", vec![merged]),
        asked("/events?contains=<nowhere>", nowhere, SELDOM),
        request("/event?topic=&event_id=", one),
        request("/stats", vec!["/stats".to_owned()]),
        request("/topics", vec!["/topics".to_owned()]),
    ])
}

/// The cursors of a question's pages, from the newest event to the oldest, and the first event of each page.
async fn cursors(api: &Api, question: &str) -> anyhow::Result<(Vec<String>, Vec<Identity>)> {
    let first = format!("{question}&limit=1000");
    let mut found: Vec<String> = Vec::new();
    let mut identities = Vec::new();
    loop {
        let path = match found.last() {
            None => first.clone(),
            Some(cursor) => format!("{first}&cursor={cursor}"),
        };
        let page: Page = serde_json::from_slice(&api.get(&path).await?)
            .with_context(|| format!("reading a page of {question}"))?;
        identities.extend(page.events.into_iter().next());
        match page.next_cursor {
            Some(cursor) => found.push(cursor),
            None => return Ok((found, identities)),
        }
    }
}
