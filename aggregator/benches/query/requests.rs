//! The kinds of requests, each with paths that are requested in turn.

use anyhow::{Context, ensure};
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use serde::Deserialize;

use crate::{
    api::Api,
    settings::TOPICS,
    traffic::{RARE, topic_names},
};

/// This many cursors are enough, once they are of [`CURSOR_TOPICS`] topics.
const CURSORS: usize = 500;
const CURSOR_TOPICS: usize = 4;

/// A kind of request.
#[derive(Debug)]
pub struct Request {
    /// Its name in the table.
    pub name: &'static str,
    /// Requested one after the other, then again from the first.
    pub paths: Vec<String>,
    /// The least number of requests.
    pub least: u64,
}

/// Enough for a 99th percentile.
const OFTEN: u64 = 1_000;

/// For requests that run into their time limit.
const SELDOM: u64 = 50;

/// The parts of a page that are used here.
#[derive(Deserialize)]
struct EventsPage {
    events: Vec<Identity>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Identity {
    topic: String,
    event_id: String,
}

/// All kinds of requests. Cursors are found as a client would, by paging from the newest event to the oldest.
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
        let query = format!("/events?topic={topic}");
        for cursor in cursors(api, &query).await?.0 {
            by_topic.push(format!("{query}&cursor={cursor}"));
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
    let page: EventsPage = serde_json::from_slice(&api.get(&rare).await?)?;
    ensure!(!page.events.is_empty(), "the rare topic has no event");
    let repeated = |name, paths, least| Request { name, paths, least };
    let request = |name, paths| repeated(name, paths, OFTEN);
    let nowhere = vec!["/events?contains=nowhere".to_owned()];
    Ok(vec![
        request("/events?topic=", newest),
        request("/events?topic=&cursor=", by_topic),
        request("/events?cursor=", over_all),
        request("/events?topic=<rare>", vec![rare]),
        request("/events?topic=&topic=&topic=&order=asc", vec![merged]),
        repeated("/events?contains=<nowhere>", nowhere, SELDOM),
        request("/event?topic=&event_id=", one),
        request("/stats", vec!["/stats".to_owned()]),
        request("/topics", vec!["/topics".to_owned()]),
    ])
}

/// The cursors of a query's pages, from the newest event to the oldest, and the first event of each page.
async fn cursors(api: &Api, query: &str) -> anyhow::Result<(Vec<String>, Vec<Identity>)> {
    let first = format!("{query}&limit=1000");
    let mut found: Vec<String> = Vec::new();
    let mut identities = Vec::new();
    loop {
        let path = match found.last() {
            None => first.clone(),
            Some(cursor) => format!("{first}&cursor={cursor}"),
        };
        let page: EventsPage = serde_json::from_slice(&api.get(&path).await?)
            .with_context(|| format!("reading a page of {query}"))?;
        identities.extend(page.events.into_iter().next());
        match page.next_cursor {
            Some(cursor) => found.push(cursor),
            None => return Ok((found, identities)),
        }
    }
}
