//! `GET /events/tail`: events as they are stored, as server-sent events.
//!
//! Events are read from the store, so a client takes no memory except its position. A client that does not keep up receives
//! the number of events that it missed, and continues with the newest. With conditions on their content, the events are
//! searched in the same way. A client that asks for only the latest events receives a few, twice a second, or once a
//! second while events are skipped.

mod parameters;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{StreamExt, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep_until},
};
use tracing::{Instrument, Span, error};
use utoipa::openapi::schema::ObjectBuilder;

use self::parameters::{LastId, NAMES, OfTail, last_id, parse};
use super::view::render_flat;
use crate::{
    http::{
        api::Api,
        edge::{
            access::Caller,
            paging::SMALL_BYTES,
            problem::{Problem, Unavailable},
            query::unknown_parameter,
            streaming,
        },
        openapi::{
            refusals::{problems, refusals},
            schemas::{schemas, text},
        },
    },
    store::{
        StoreError,
        query::{EventPage, EventQuery, Filter, Order, PageBounds, Sink, StoredEvent},
    },
};

/// A client that is further behind, in events, skips them and receives their number.
const MAX_BEHIND: u64 = 10_000;

/// Events that are searched at most, in one read or for one position; so a client whose events must match conditions may be that far
/// behind.
const SEARCHED: u64 = 500_000;

/// After this number of events without a match the client receives its position, so that after a lost connection they are not
/// searched again.
const KNOWN_AFTER: u64 = 10_000;

/// Maximum number of events in one read.
const READ_EVENTS: usize = 500;

/// Interval between reads for a client that has received all events.
const READ_INTERVAL: Duration = Duration::from_millis(50);

/// The same for a client that asks for only the latest events: people do not read faster.
const LATEST_INTERVAL: Duration = Duration::from_millis(500);

/// The same after events were skipped: too many arrive to read them.
const SKIPPING_INTERVAL: Duration = Duration::from_secs(2);

/// A comment is sent after this time without an event, so that a dead connection is detected.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The data of the event `start` for a client whose `Last-Event-ID` is unknown. The request is not refused, because a browser
/// would never try again.
const UNKNOWN_ID: &str = r#"{"unknown_last_event_id":true}"#;

struct Tail {
    api: Arc<Api>,
    query: Arc<EventQuery>,
    /// Maximum number of events at a time, if the client asks for only the latest.
    latest: Option<usize>,
    /// The data of the event `start`, until it is sent.
    start: Option<&'static str>,
    /// All events up to this sequence have been sent or skipped.
    position: i64,
    /// Events up to the position, after the one that the client knows.
    unknown: u64,
    last: watch::Receiver<i64>,
    ready: VecDeque<Event>,
    /// Held while `ready` contains an event that is larger than a small response.
    permits: Vec<OwnedSemaphorePermit>,
    next_read: Instant,
    _permit: OwnedSemaphorePermit,
}

refusals! {
    /// The refusals of `GET /events/tail`.
    TailRefusals = problems([
        unknown_parameter(&NAMES),
        Problem::unavailable(Unavailable::TooManyTails),
    ]);
}

schemas! {
    /// What a tail sends.
    TailEvent() = ObjectBuilder::new()
        .description(Some("One server-sent event."))
        .property("id", text().description(Some("The sequence of the event, for Last-Event-ID; if it is not a stored event, that of the last one before it that the token may read, or 0.")))
        .required("id")
        .property("event", text().enum_values(Some(["start", "missed", "searched", "message"])).description(Some(
            "start is sent first; missed is sent if the client was too far behind; searched, if many events did not match and the token may read every topic. A stored event has none, which means message.",
        )))
        .property("data", text().description(Some(
            "A StoredEvent on one line, in which CR and LF between tokens of its payload are spaces. With start: an object, in which unknown_last_event_id is true if Last-Event-ID is unknown, so that only events stored from now on are sent. With missed: the number of events missed; with conditions other than topic, of the events not searched; null if too many would have to be read to count them.",
        )))
        .required("data")
        .build();
}

/// Streams the events that match: from now on, or after the event that `Last-Event-ID` names.
///
/// If that id is unknown, as after the store was restored from a backup, only events stored from now on are sent, and the
/// event `start` says so. The stream ends when the service stops, and when the token or the session with which it was opened ends.
#[utoipa::path(
    get,
    path = "/events/tail",
    tag = "events",
    params(OfTail),
    responses((status = OK, body = TailEvent, content_type = "text/event-stream"), TailRefusals)
)]
pub async fn tail(
    State(api): State<Arc<Api>>,
    caller: Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (mut query, latest) = parse(query.as_deref())?;
    query.visible = caller.visible(&query.topics)?;
    let permit = Arc::clone(&api.permits.tails).try_acquire_owned();
    let permit = permit.map_err(|_| Problem::unavailable(Unavailable::TooManyTails))?;
    let last = api.reader.last_event();
    let newest = *last.borrow();
    let asked = last_id(&headers);
    // What another aggregator has sent is known here a moment later.
    let is_known = match asked {
        LastId::None => true,
        LastId::Wrong => false,
        LastId::Of(sequence) => api.reader.reaches(sequence).await,
    };
    let position = match asked {
        LastId::Of(sequence) if is_known => sequence,
        _ => newest,
    };
    let start = if is_known { "{}" } else { UNKNOWN_ID };
    let ended = caller.ended();
    let tail = Tail {
        api,
        query: Arc::new(query),
        latest,
        start: Some(start),
        position,
        unknown: 0,
        last,
        ready: VecDeque::new(),
        permits: Vec::new(),
        next_read: Instant::now(),
        _permit: permit,
    };
    // Later failures are logged in the span of this request, too.
    let span = Span::current();
    let events = stream::try_unfold(tail, move |tail| tail.next().instrument(span.clone()));
    // The client connects again, and is then answered by what it may read now.
    let events = events.take_until(Box::pin(ended));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let answer = Sse::new(events).keep_alive(keep_alive).into_response();
    Ok(streaming::events(None, answer))
}

/// An event that is not from the store, with the position from which a client continues.
fn control(name: &str, position: i64, data: String) -> Event {
    let id = position.to_string();
    Event::default().event(name).id(id).data(data)
}

/// The event `missed`, with the number of events if it is known.
fn skipped(position: i64, missed: Option<u64>) -> Event {
    let missed = missed.map_or_else(|| "null".to_owned(), |missed| missed.to_string());
    control("missed", position, format!("{{\"missed\":{missed}}}"))
}

impl Tail {
    async fn next(mut self) -> Result<Option<(Event, Self)>, StoreError> {
        if let Some(start) = self.start.take() {
            let id = self.visible_to(self.position).await;
            let id = id.inspect_err(|err| error!(error = %err, "a tail failed"))?;
            return Ok(Some((control("start", id, start.to_owned()), self)));
        }
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some((event, self)));
            }
            // The client has taken the last event.
            self.permits.clear();
            let stopping = self.api.process.stopping.clone();
            let more = async {
                self.last
                    .wait_for(|last| *last > self.position)
                    .await
                    .is_ok()
            };
            tokio::select! {
                is_more = more => if !is_more { return Ok(None) },
                () = stopping.cancelled() => return Ok(None),
            }
            sleep_until(self.next_read).await;
            let interval = self.latest.map_or(READ_INTERVAL, |_| LATEST_INTERVAL);
            self.next_read = Instant::now() + interval;
            let read = match self.latest {
                Some(most) => self.read_latest(most).await,
                None => self.read().await,
            };
            read.inspect_err(|err| error!(error = %err, "a tail failed"))?;
        }
    }

    /// Reads the latest events stored since the previous read, and skips the others.
    async fn read_latest(&mut self, most: usize) -> Result<(), StoreError> {
        let reader = &self.api.reader;
        let last = *self.last.borrow();
        let query = Arc::new(EventQuery {
            order: Order::NewestFirst,
            ..EventQuery::clone(&self.query)
        });
        let bounds = PageBounds {
            from: None,
            after: self.position,
            last,
            limit: most,
        };
        let (page, permits) = self.page(query, bounds).await?;
        let lines = page.events.found;
        let missed = if page.next.is_some() {
            let query = Arc::clone(&self.query);
            let stored = reader.events_between(query, self.position, last).await?;
            stored.map(|stored| stored.saturating_sub(lines.len() as u64))
        } else {
            // The page has all of them.
            Some(0)
        };
        if missed != Some(0) {
            self.next_read = Instant::now() + SKIPPING_INTERVAL;
            let position = match lines.last() {
                Some((sequence, _)) => sequence - 1,
                None => self.visible_to(last).await?,
            };
            self.ready.push_back(skipped(position, missed));
        }
        self.position = last;
        self.permits = permits;
        self.send(lines.into_iter().rev());
        Ok(())
    }

    /// Reads the next events, or skips those that were missed.
    async fn read(&mut self) -> Result<(), StoreError> {
        let reader = &self.api.reader;
        let last = *self.last.borrow();
        let max_behind = if self.query.filter == Filter::default() {
            MAX_BEHIND
        } else {
            SEARCHED
        };
        let behind = reader.distance(self.position, last, max_behind).await?;
        if behind > max_behind {
            let query = Arc::clone(&self.query);
            let missed = reader.events_between(query, self.position, last).await?;
            let is_too_far = match missed {
                Some(missed) => missed > max_behind,
                // They are searched for those that are visible.
                None => reader.distance(self.position, last, SEARCHED).await? > SEARCHED,
            };
            if is_too_far {
                let id = self.visible_to(last).await?;
                self.position = last;
                self.unknown = 0;
                self.ready.push_back(skipped(id, missed));
                return Ok(());
            }
        }
        let bounds = PageBounds {
            from: Some(self.position),
            after: 0,
            last,
            limit: READ_EVENTS,
        };
        let (page, permits) = self.page(Arc::clone(&self.query), bounds).await?;
        if page.next.is_some() {
            // More events are already stored.
            self.next_read = Instant::now();
        }
        let before = std::mem::replace(&mut self.position, page.next.unwrap_or(last));
        self.permits = permits;
        let found = &page.events.found;
        let known = found.last().map(|(sequence, _)| *sequence);
        if known.is_some() {
            self.unknown = 0;
        }
        if self.query.visible.is_every() && !self.selects_all() {
            let from = known.unwrap_or(before);
            let reader = &self.api.reader;
            self.unknown += reader.distance(from, self.position, KNOWN_AFTER).await?;
            if found.is_empty() && self.unknown > KNOWN_AFTER {
                self.unknown = 0;
                let searched = control("searched", self.position, "{}".to_owned());
                self.ready.push_back(searched);
            }
        }
        self.send(page.events.found);
        Ok(())
    }

    /// Whether each event is sent that the client may read.
    fn selects_all(&self) -> bool {
        self.query.topics.is_empty() && self.query.filter == Filter::default()
    }

    /// A page of the events that fit into a small response, or of a single larger event with its permits.
    async fn page(
        &self,
        query: Arc<EventQuery>,
        bounds: PageBounds,
    ) -> Result<(EventPage<EventLines>, Vec<OwnedSemaphorePermit>), StoreError> {
        let mut permits = Vec::new();
        loop {
            let lines = EventLines {
                is_large: !permits.is_empty(),
                ..EventLines::default()
            };
            let scan = self.api.reader.scan(&query, &bounds).await;
            let reader = &self.api.reader;
            let page = reader.events(Arc::clone(&query), bounds, scan, lines);
            let mut page = page.await?;
            if let Some(err) = page.events.failed.take() {
                return Err(err);
            }
            if !page.events.is_too_large {
                return Ok((page, permits));
            }
            // Read again once permits allow the event in memory.
            drop(page);
            permits = self.api.permits.chunk().await;
        }
    }

    /// The position that the client gets to know for one among all events: the last event up to there that it may read, from which
    /// it continues with the same events. 0 if none is found: then the client, if it comes back, learns that it missed some.
    async fn visible_to(&self, position: i64) -> Result<i64, StoreError> {
        if self.query.visible.is_every() {
            return Ok(position);
        }
        let query = Arc::new(EventQuery {
            order: Order::NewestFirst,
            filter: Filter::default(),
            ..EventQuery::clone(&self.query)
        });
        let mut bounds = PageBounds {
            from: None,
            after: 0,
            last: position,
            limit: 1,
        };
        loop {
            let reader = &self.api.reader;
            let scan = reader.scan(&query, &bounds).await;
            let page = reader.events(Arc::clone(&query), bounds, scan, Place(None));
            let page = page.await?;
            if let Place(Some(sequence)) = page.events {
                return Ok(sequence);
            }
            let Some(next) = page.next else { return Ok(0) };
            if reader.distance(next, position, SEARCHED).await? >= SEARCHED {
                return Ok(0);
            }
            bounds.from = Some(next);
        }
    }

    fn send(&mut self, lines: impl IntoIterator<Item = (i64, String)>) {
        for (sequence, line) in lines {
            let event = Event::default().id(sequence.to_string()).data(line);
            self.ready.push_back(event);
        }
    }
}

/// The sequence of the only event.
struct Place(Option<i64>);

impl Sink<StoredEvent> for Place {
    fn take(&mut self, event: StoredEvent) -> bool {
        self.0 = Some(event.sequence);
        true
    }
}

/// Events as lines, each with its sequence.
#[derive(Default)]
struct EventLines {
    found: Vec<(i64, String)>,
    bytes: usize,
    /// Whether the first event may be larger than a small response.
    is_large: bool,
    /// Whether the first event was larger, though it must not be.
    is_too_large: bool,
    failed: Option<StoreError>,
}

impl Sink<StoredEvent> for EventLines {
    fn take(&mut self, event: StoredEvent) -> bool {
        let sequence = event.sequence;
        let mut line = Vec::new();
        if let Err(err) = render_flat(event, &mut line) {
            self.failed = Some(err);
            return false;
        }
        let line = String::from_utf8(line).expect("JSON is UTF-8");
        let is_first = self.found.is_empty();
        if self.bytes + line.len() > SMALL_BYTES && !(is_first && self.is_large) {
            self.is_too_large = is_first;
            return false;
        }
        self.bytes += line.len();
        self.found.push((sequence, line));
        true
    }
}
