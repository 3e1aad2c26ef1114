//! `GET /events/tail`: events as they are stored, as server-sent events.
//!
//! They are read from the store, whoever follows keeps nothing in memory but its place. One that does not keep up is told
//! how many it missed, and goes on with the newest. One that wants only the latest gets a few, twice a second.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::stream;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep_until},
};
use tracing::{Instrument, Span, error};
use utoipa::openapi::schema::ObjectBuilder;

use super::{filter, shown::render_flat};
use crate::{
    http::{
        api::Api,
        edge::{
            paging::SMALL_BYTES,
            problem::{Problem, Unavailable},
            query::{Query, unknown_parameter},
            streaming::{self, unbuffered},
        },
        openapi::{
            parameters::{self, number, parameters, whole},
            refusals::{problems, refusals},
            schemas::{schemas, text},
        },
    },
    store::{
        StoreError,
        query::{EventPage, EventQuery, Order, PageBounds, Sink, StoredEvent},
    },
};

/// A client that is more events behind is told that it missed them.
const MAX_BEHIND: u64 = 10_000;

/// Most events read at once.
const PIECE: usize = 500;

/// A client that has all there is waits so long before the store is read for it again.
const PACE: Duration = Duration::from_millis(50);

/// The same for one that wants only the latest: people do not read faster.
const LATEST_PACE: Duration = Duration::from_millis(500);

/// Most events that such a client gets at once.
pub const MAX_LATEST: usize = 100;

/// A comment is sent where nothing else was for so long, so that a dead connection is found.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What the event `start` says to a client whose `Last-Event-ID` is not known. It is not refused: a browser would never try
/// again.
const UNKNOWN: &str = r#"{"unknown_last_event_id":true}"#;

struct Tail {
    api: Arc<Api>,
    question: Arc<EventQuery>,
    /// Most events at once, where only the latest are wanted.
    latest: Option<usize>,
    /// All up to this sequence is sent or missed.
    position: i64,
    last: watch::Receiver<i64>,
    ready: VecDeque<Event>,
    /// Of an event in it that is more than a small answer.
    places: Vec<OwnedSemaphorePermit>,
    next_read: Instant,
    _place: OwnedSemaphorePermit,
}

parameters! {
    /// Of `GET /events/tail`.
    OfTail = [
        filter::topic_parameter(),
        parameters::query("latest", "Only so many of the latest events, twice a second; missed tells how many were passed.")
            .schema(Some(number(1, whole(MAX_LATEST), None))),
        parameters::header("Last-Event-ID", "The id of the last event that the client got; it goes on behind that. Where it is not known, the newest come.")
            .schema(Some(text())),
    ];
}

refusals! {
    /// Of `GET /events/tail`.
    Tailing = problems([
        unknown_parameter(&["topic", "latest"]),
        Problem::unavailable(Unavailable::TooManyTails),
    ]);
}

schemas! {
    /// What a tail sends.
    Told() = ObjectBuilder::new()
        .description(Some("One server-sent event."))
        .property("id", text().description(Some("The sequence, for Last-Event-ID.")))
        .required("id")
        .property("event", text().enum_values(Some(["start", "missed", "message"])).description(Some(
            "start comes first, missed where the client was too far behind. Left out, which is message, with an event of the store.",
        )))
        .property("data", text().description(Some(
            "A StoredEvent on one line, in which CR and LF between tokens of its payload are spaces; with start an object, in which unknown_last_event_id is true where Last-Event-ID is not known and the newest come instead; with missed the number of events.",
        )))
        .required("data")
        .build();
}

/// Follows the events of some topics, or of all: from now on, or behind the one that `Last-Event-ID` names.
///
/// Where that is none of its ids, as after the store was restored from a backup, it starts with the newest and says so in
/// the event `start`. It does not end before the service does.
#[utoipa::path(
    get,
    path = "/events/tail",
    tag = "events",
    params(OfTail),
    responses((status = OK, body = Told, content_type = "text/event-stream"), Tailing)
)]
pub async fn tail(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = Query::parse_many(query.as_deref(), &["topic", "latest"], |name| {
        name == "topic"
    })?;
    let latest = query.number("latest", MAX_LATEST)?;
    let question = EventQuery {
        topics: filter::topics(&query)?,
        order: Order::OldestFirst,
        ..EventQuery::default()
    };
    let place = Arc::clone(&api.permits.tails).try_acquire_owned();
    let place = place.map_err(|_| Problem::unavailable(Unavailable::TooManyTails))?;
    let last = api.reader.last_event();
    let newest = *last.borrow();
    let (position, is_known) = position(&headers, newest);
    let start = if is_known { "{}" } else { UNKNOWN };
    let tail = Tail {
        api,
        question: Arc::new(question),
        latest,
        position,
        last,
        ready: VecDeque::from([told("start", position, start.to_owned())]),
        places: Vec::new(),
        next_read: Instant::now(),
        _place: place,
    };
    // What goes wrong later is logged as of this request, too.
    let log = Span::current();
    let events = stream::try_unfold(tail, move |tail| tail.next().instrument(log.clone()));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let answer = Sse::new(events).keep_alive(keep_alive).into_response();
    Ok(unbuffered(streaming::in_frames(None, answer)))
}

/// The sequence after which a client goes on, and whether it is what the client asked for: that of the last event that it got
/// before it lost the connection, as far as there is one, otherwise the newest.
fn position(headers: &HeaderMap, newest: i64) -> (i64, bool) {
    let mut ids = headers.get_all("last-event-id").iter();
    let Some(id) = ids.next() else {
        return (newest, true);
    };
    let sequence = id.to_str().ok().and_then(|text| {
        let sequence: i64 = text.parse().ok()?;
        // A store that was restored from a backup may know less than its clients do.
        let is_known = (0..=newest).contains(&sequence) && sequence.to_string() == text;
        is_known.then_some(sequence)
    });
    let only = sequence.filter(|_| ids.next().is_none());
    (only.unwrap_or(newest), only.is_some())
}

/// Something that is no event of the store, with the position from which a client goes on.
fn told(what: &str, position: i64, data: String) -> Event {
    let id = position.to_string();
    Event::default().event(what).id(id).data(data)
}

impl Tail {
    async fn next(mut self) -> Result<Option<(Event, Self)>, StoreError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some((event, self)));
            }
            // The client has taken the last one.
            self.places.clear();
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
            let pace = self.latest.map_or(PACE, |_| LATEST_PACE);
            self.next_read = Instant::now() + pace;
            let read = match self.latest {
                Some(most) => self.read_latest(most).await,
                None => self.read().await,
            };
            read.inspect_err(|err| error!(error = %err, "a tail failed"))?;
        }
    }

    /// Reads the latest events that came meanwhile, and passes the others.
    async fn read_latest(&mut self, most: usize) -> Result<(), StoreError> {
        let reader = &self.api.reader;
        let last = *self.last.borrow();
        let question = Arc::new(EventQuery {
            order: Order::NewestFirst,
            ..EventQuery::clone(&self.question)
        });
        let extent = PageBounds {
            from: None,
            last,
            limit: most,
        };
        let (page, places) = self.page(question, extent).await?;
        let mut lines = page.events.found;
        lines.retain(|(sequence, _)| *sequence > self.position);
        let question = Arc::clone(&self.question);
        let came = reader.events_between(question, self.position, last).await?;
        let missed = came.saturating_sub(lines.len() as u64);
        if missed > 0 {
            let shown = lines.last().map_or(last, |(sequence, _)| sequence - 1);
            let data = format!("{{\"missed\":{missed}}}");
            self.ready.push_back(told("missed", shown, data));
        }
        self.position = last;
        self.places = places;
        self.send(lines.into_iter().rev());
        Ok(())
    }

    /// Reads on, or passes what was missed.
    async fn read(&mut self) -> Result<(), StoreError> {
        let reader = &self.api.reader;
        let last = *self.last.borrow();
        if u64::try_from(last - self.position).is_ok_and(|behind| behind > MAX_BEHIND) {
            let question = Arc::clone(&self.question);
            let missed = reader.events_between(question, self.position, last).await?;
            if missed > MAX_BEHIND {
                self.position = last;
                let data = format!("{{\"missed\":{missed}}}");
                self.ready.push_back(told("missed", last, data));
                return Ok(());
            }
        }
        let extent = PageBounds {
            from: Some(self.position),
            last,
            limit: PIECE,
        };
        let (page, places) = self.page(Arc::clone(&self.question), extent).await?;
        if page.next.is_some() {
            // There is more already.
            self.next_read = Instant::now();
        }
        self.position = page.next.unwrap_or(last);
        self.places = places;
        self.send(page.events.found);
        Ok(())
    }

    /// A page of as many events as are a small answer, or of one that is larger, with its places.
    async fn page(
        &self,
        question: Arc<EventQuery>,
        extent: PageBounds,
    ) -> Result<(EventPage<Lines>, Vec<OwnedSemaphorePermit>), StoreError> {
        let mut places = Vec::new();
        loop {
            let lines = Lines {
                is_large: !places.is_empty(),
                ..Lines::default()
            };
            let scan = self.api.reader.scan(&question).await;
            let reader = &self.api.reader;
            let page = reader.events(Arc::clone(&question), extent, scan, lines);
            let mut page = page.await?;
            if let Some(err) = page.events.failed.take() {
                return Err(err);
            }
            // Read again once it may be in memory.
            if !page.events.is_too_large {
                return Ok((page, places));
            }
            drop(page);
            places = self.api.permits.chunk().await;
        }
    }

    fn send(&mut self, lines: impl IntoIterator<Item = (i64, String)>) {
        for (sequence, line) in lines {
            let event = Event::default().id(sequence.to_string()).data(line);
            self.ready.push_back(event);
        }
    }
}

/// Events as lines, each with its sequence.
#[derive(Default)]
struct Lines {
    found: Vec<(i64, String)>,
    bytes: usize,
    /// Whether the first may be more than a small answer.
    is_large: bool,
    /// Whether it was, and may not.
    is_too_large: bool,
    failed: Option<StoreError>,
}

impl Sink<StoredEvent> for Lines {
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

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn from(ids: &[&[u8]]) -> (i64, bool) {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append("last-event-id", HeaderValue::from_bytes(id).unwrap());
        }
        position(&headers, 100)
    }

    #[test]
    fn an_id_that_is_empty_or_unknown_starts_with_the_newest_and_is_no_error() {
        assert_eq!(from(&[]), (100, true));
        for known in [0, 1, 99, 100] {
            let text = known.to_string();
            assert_eq!(from(&[text.as_bytes()]), (known, true));
        }
        for unknown in [
            "",
            "101",
            "9223372036854775808",
            "-1",
            "+1",
            "01",
            "1.0",
            "0x1",
            "abc",
            "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
            "\u{661}",
        ] {
            assert_eq!(from(&[unknown.as_bytes()]), (100, false), "{unknown}");
        }
        assert_eq!(from(&[b"\xff"]), (100, false));
        assert_eq!(from(&[b"1", b"2"]), (100, false));
    }
}
