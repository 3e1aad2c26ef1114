//! All events that a question is about, as NDJSON: one short read after the other, as fast as the client takes them.

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use futures::stream;
use tracing::{Instrument, Span, error};

use super::shown::render_flat;
use crate::{
    http::{
        api::Api,
        edge::{
            paging::{self, Room, Row, Rows},
            streaming::{self, Chunk, Text, unbuffered},
        },
    },
    store::{
        StoreError,
        query::{EventPage, EventQuery, PageBounds, StoredEvent},
    },
};

/// Where nothing matches for so long an empty line is sent, so that a client knows that it is looked for.
const SILENCE: Duration = Duration::from_secs(10);

/// An export, as far as it has come.
struct Export {
    api: Arc<Api>,
    question: Arc<EventQuery>,
    extent: PageBounds,
    /// So many events are still wanted.
    left: usize,
    is_at_end: bool,
}

/// The events behind `from`, at most `limit`, as they are stored by now: what comes later is not in it. Where the store
/// fails in the middle the connection is closed, so that a client sees that the end is missing.
pub fn answer(
    api: Arc<Api>,
    question: Arc<EventQuery>,
    from: Option<i64>,
    limit: usize,
) -> Response {
    let last = *api.reader.last_event().borrow();
    let export = Export {
        api,
        question,
        extent: PageBounds {
            from,
            last,
            limit: 0,
        },
        left: limit,
        is_at_end: false,
    };
    // What goes wrong later is logged as of this request, too.
    let log = Span::current();
    let pieces = stream::try_unfold(export, move |export| export.next().instrument(log.clone()));
    let mut answer = streaming::stream(pieces);
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    unbuffered(answer)
}

impl Export {
    /// The lines of the next page that has any, and what follows.
    async fn next(mut self) -> Result<Option<(Chunk, Self)>, StoreError> {
        let begun = Instant::now();
        while !self.is_at_end && self.left > 0 {
            if begun.elapsed() >= SILENCE {
                return Ok(Some((Bytes::from_static(b"\n").into(), self)));
            }
            let places = self.api.permits.chunk().await;
            let scan = self.api.reader.scan(&self.question).await;
            self.extent.limit = self.left.min(paging::MAX_LIMIT);
            let rows = Rows::lines(Room::Chunk, line);
            let reader = &self.api.reader;
            let page = reader.events(Arc::clone(&self.question), self.extent, scan, rows);
            let lines = page.await.and_then(|page| self.lines(page));
            let lines = lines.inspect_err(|err| error!(error = %err, "an export failed"))?;
            if lines.len() > 0 {
                return Ok(Some((Chunk::new(lines, places), self)));
            }
        }
        Ok(None)
    }

    fn lines(&mut self, page: EventPage<Rows<StoredEvent>>) -> Result<Text, StoreError> {
        self.left -= page.events.count;
        self.is_at_end = page.next.is_none();
        self.extent.from = page.next;
        page.events.text()
    }
}

fn line(event: StoredEvent, to: &mut Row) -> Result<(), StoreError> {
    render_flat(event, to)?;
    to.write_all(b"\n").expect("memory takes all of it");
    Ok(())
}
