//! All events that a question is about, as NDJSON: one short read after the other, as fast as the client takes them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::stream;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, Span, error};

use super::line;
use crate::{
    http::{Api, page, streaming::unbuffered},
    store::{
        StoreError,
        reader::{EventPage, Extent, PAGE_BYTES, Question},
    },
};

/// Where nothing matches for so long an empty line is sent, so that a client knows that it is looked for.
const SILENCE: Duration = Duration::from_secs(10);

/// An export, as far as it has come.
struct Export {
    api: Arc<Api>,
    question: Arc<Question>,
    extent: Extent,
    /// So many events are still wanted.
    left: usize,
    is_at_end: bool,
    /// Of the piece that the client is taking: among the pieces, and among the pages.
    places: Option<[OwnedSemaphorePermit; 2]>,
}

/// The events behind `from`, at most `limit`, as they are stored by now: what comes later is not in it. Where the store
/// fails in the middle the connection is closed, so that a client sees that the end is missing.
pub fn answer(api: Arc<Api>, question: Arc<Question>, from: Option<i64>, limit: usize) -> Response {
    let last = *api.reader.last_event().borrow();
    let export = Export {
        api,
        question,
        extent: Extent {
            from,
            last,
            limit: 0,
            bytes: PAGE_BYTES,
        },
        left: limit,
        is_at_end: false,
        places: None,
    };
    // What goes wrong later is logged as of this request, too.
    let log = Span::current();
    let pieces = stream::try_unfold(export, move |export| export.next().instrument(log.clone()));
    let mut answer = Body::from_stream(pieces).into_response();
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    unbuffered(answer)
}

impl Export {
    /// The lines of the next page that has any, and what follows.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        // What is asked for now finds the client done with the piece before.
        drop(self.places.take());
        let begun = Instant::now();
        while !self.is_at_end && self.left > 0 {
            if begun.elapsed() >= SILENCE {
                return Ok(Some((Bytes::from_static(b"\n"), self)));
            }
            let piece = Arc::clone(&self.api.pieces).acquire_owned().await;
            let piece = piece.expect("the semaphore is never closed");
            let scan = self.api.reader.scan(&self.question).await;
            let places = [piece, self.api.place().await];
            self.extent.limit = self.left.min(page::MAX_LIMIT);
            let page = self
                .api
                .reader
                .events(Arc::clone(&self.question), self.extent, scan);
            let lines = page.await.and_then(|page| self.lines(page));
            let lines = lines.inspect_err(|err| error!(error = %err, "an export failed"))?;
            if !lines.is_empty() {
                self.places = Some(places);
                return Ok(Some((lines.into(), self)));
            }
        }
        Ok(None)
    }

    fn lines(&mut self, page: EventPage) -> Result<String, StoreError> {
        self.left -= page.events.len();
        self.is_at_end = page.next.is_none();
        self.extent.from = page.next;
        let mut lines = String::new();
        for event in page.events {
            lines.push_str(&line(event)?);
            lines.push('\n');
        }
        Ok(lines)
    }
}
