//! `GET /live`: the counters and the state of the service, once a second, as server-sent events for the page at `/`.

mod sample;
pub mod samples;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use utoipa::openapi::schema::ObjectBuilder;

use crate::http::{
    api::Api,
    edge::{
        access::Caller,
        problem::{Problem, Unavailable},
        query::Query,
        streaming::{self, Chunk},
    },
    events::tail::TailRefusals,
    openapi::schemas::{schemas, text},
};

/// A comment is sent after this time without an event, so that a dead connection is detected.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Takes samples until the token is cancelled.
///
/// # Panics
/// Never: a sample consists of strings and numbers, which are JSON.
pub async fn keep_sampling(api: Arc<Api>, token: CancellationToken) {
    let sampling = async {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        // After a pause, samples are again a second apart, without a burst to catch up.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sampler = sample::Sampler::default();
        loop {
            ticks.tick().await;
            let sample = sampler.take(&api).await;
            let json = serde_json::to_string(&sample).expect("strings and numbers are JSON");
            api.live.add(json.into());
        }
    };
    tokio::select! {
        () = sampling => {}
        () = token.cancelled() => {}
    }
}

/// Keeps the reader's leading topics by count up to date until the token is cancelled.
pub async fn keep_learning(api: Arc<Api>, token: CancellationToken) {
    let learning = async {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(err) = api.reader.learn_leaders().await {
                debug!(error = %err, "the topics cannot be read");
            }
        }
    };
    tokio::select! {
        () = learning => {}
        () = token.cancelled() => {}
    }
}

struct Follower {
    api: Arc<Api>,
    samples: watch::Receiver<VecDeque<Bytes>>,
    _permit: OwnedSemaphorePermit,
}

schemas! {
    /// What the live page receives.
    LiveEvent() = ObjectBuilder::new()
        .description(Some("One server-sent event."))
        .property("event", text().enum_values(Some(["history", "sample"])))
        .required("event")
        .property("data", text().description(Some("A sample as JSON; with history, a list of samples.")))
        .required("data")
        .build();
}

/// Streams the recent samples as a list in the event `history`, then each new sample in an event `sample`.
///
/// For the page at `/` of the same version only: the content of a sample may change.
#[utoipa::path(
    get,
    path = "/live",
    tag = "service",
    responses((status = OK, body = LiveEvent, content_type = "text/event-stream"), TailRefusals)
)]
pub async fn follow(
    State(api): State<Arc<Api>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::parse(query.as_deref(), &[])?;
    let permit = Arc::clone(&api.permits.tails).try_acquire_owned();
    let permit = permit.map_err(|_| Problem::unavailable(Unavailable::TooManyTails))?;
    let mut samples = api.live.subscribe();
    let history = history(&samples.borrow_and_update());
    let follower = Follower {
        samples,
        api,
        _permit: permit,
    };
    let events = stream::unfold(follower, Follower::next).take_until(Box::pin(caller.ended()));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let answer = Sse::new(events).keep_alive(keep_alive).into_response();
    Ok(streaming::events(Some(history), answer))
}

/// The event `history`. All clients share the bytes of the samples, so that a slow client holds little memory of its own.
fn history(kept: &VecDeque<Bytes>) -> Chunk {
    let mut frames = VecDeque::with_capacity(2 * kept.len() + 2);
    frames.push_back(Bytes::from_static(b"event: history\ndata: ["));
    for (at, sample) in kept.iter().enumerate() {
        if at > 0 {
            frames.push_back(Bytes::from_static(b","));
        }
        frames.push_back(sample.clone());
    }
    frames.push_back(Bytes::from_static(b"]\n\n"));
    Chunk::shared(frames)
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Event, std::convert::Infallible>, Self)> {
        let stopping = self.api.process.stopping.clone();
        tokio::select! {
            changed = self.samples.changed() => changed.ok()?,
            () = stopping.cancelled() => return None,
        }
        let newest = self.samples.borrow_and_update().back().cloned()?;
        let newest = std::str::from_utf8(&newest).expect("JSON is UTF-8");
        let event = Event::default().event("sample").data(newest);
        Some((Ok(event), self))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        samples::{KEPT, Live},
        *,
    };

    #[test]
    fn the_history_is_one_event_and_clients_share_its_samples() {
        let live = Live::default();
        for kept in 0..KEPT + 2 {
            live.add(format!("{{\"n\":{kept}}}").into());
        }
        let kept = live.subscribe().borrow().clone();
        assert_eq!(kept.len(), KEPT);
        let clients = [history(&kept), history(&kept)];
        for piece in &clients {
            for sample in &kept {
                let shared = |frame: &&Bytes| frame.as_ptr() == sample.as_ptr();
                assert_eq!(piece.frames().filter(shared).count(), 1);
            }
        }
        let text: Vec<u8> = clients[0].frames().flatten().copied().collect();
        let text = String::from_utf8(text).unwrap();
        let list = text.strip_prefix("event: history\ndata: ").unwrap();
        let list = list.strip_suffix("\n\n").unwrap();
        let list: Vec<serde_json::Value> = serde_json::from_str(list).unwrap();
        assert_eq!(list.len(), KEPT);
        assert_eq!(list[0]["n"], 2);
    }

    #[test]
    fn the_history_before_the_first_sample_is_an_empty_list() {
        let text: Vec<u8> = history(&VecDeque::new())
            .frames()
            .flatten()
            .copied()
            .collect();
        assert_eq!(text, b"event: history\ndata: []\n\n");
    }
}
