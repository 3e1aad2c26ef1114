//! `GET /events?format=ndjson`: all events that match a query, in short reads, as fast as the client takes them.

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    BoxError,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use futures::stream;
use tracing::{Instrument, Span, error, info};

use super::view::render_flat;
use crate::{
    http::{
        api::Api,
        edge::{
            access::Caller,
            paging::{self, Room, Row, Rows},
            streaming::{self, Chunk, Text, unbuffered},
        },
    },
    store::{
        Resolved, StoreError,
        query::{EventPage, EventQuery, PageBounds, StoredEvent},
    },
};

/// After this time without a match an empty line is sent, so that the client knows that the scan continues.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// Why the connection of an export is closed.
const ENDED: &str = "the token or the session ended";

/// An export in progress.
struct Export {
    api: Arc<Api>,
    query: Arc<EventQuery>,
    bounds: PageBounds,
    /// The visible topics, found with the first page.
    resolved: Resolved,
    /// The number of events still to be sent.
    left: usize,
    is_at_end: bool,
}

/// Sends at most `limit` events after `from`. Events that are stored after the request are not included. If the store fails
/// during the export, or the caller may no longer read the events, the connection is closed, so that the client can detect that
/// the export is incomplete.
pub fn answer(
    api: Arc<Api>,
    caller: Caller,
    query: Arc<EventQuery>,
    from: Option<i64>,
    limit: usize,
) -> Response {
    let last = *api.reader.last_event().borrow();
    let export = Export {
        api,
        query,
        bounds: PageBounds {
            from,
            after: 0,
            last,
            limit: 0,
        },
        resolved: Resolved::default(),
        left: limit,
        is_at_end: false,
    };
    // Later failures are logged in the span of this request, too.
    let span = Span::current();
    let ended = Box::pin(caller.ended());
    let pieces = stream::try_unfold((export, ended), move |(export, mut ended)| {
        let next = async move {
            tokio::select! {
                biased;
                () = &mut ended => {
                    info!("an export was cut off because its token or session ended");
                    Err(BoxError::from(ENDED))
                }
                next = export.next() => Ok(next?.map(|(chunk, export)| (chunk, (export, ended)))),
            }
        };
        next.instrument(span.clone())
    });
    let mut answer = streaming::stream(pieces);
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    unbuffered(answer)
}

impl Export {
    /// The lines of the next page that is not empty, and the rest of the export.
    async fn next(mut self) -> Result<Option<(Chunk, Self)>, StoreError> {
        let started = Instant::now();
        while !self.is_at_end && self.left > 0 {
            if started.elapsed() >= MAX_SILENCE {
                return Ok(Some((Bytes::from_static(b"\n").into(), self)));
            }
            let permits = self.api.permits.chunk().await;
            self.bounds.limit = self.left.min(paging::MAX_LIMIT);
            let rows = Rows::lines(Room::Chunk, line);
            let reader = &self.api.reader;
            let resolved = self.resolved.clone();
            let scan = reader.scan_on(&self.query, &self.bounds, resolved).await;
            let page = reader.events(Arc::clone(&self.query), self.bounds, scan, rows);
            let lines = page.await.and_then(|page| self.lines(page));
            let lines = lines.inspect_err(|err| error!(error = %err, "an export failed"))?;
            if lines.len() > 0 {
                return Ok(Some((Chunk::new(lines, permits), self)));
            }
        }
        Ok(None)
    }

    fn lines(&mut self, page: EventPage<Rows<StoredEvent>>) -> Result<Text, StoreError> {
        self.left -= page.events.count;
        self.is_at_end = page.next.is_none();
        self.bounds.from = page.next;
        page.events.text()
    }
}

fn line(event: StoredEvent, to: &mut Row) -> Result<(), StoreError> {
    render_flat(event, to)?;
    to.write_all(b"\n")
        .expect("writing to memory does not fail");
    Ok(())
}
