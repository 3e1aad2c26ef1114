//! Pages: where they start and end, and how rows are rendered while they are read.
//!
//! A large response holds a permit from before it is read until its last frame is sent. A small one needs none, so it never
//! waits for clients that read slowly.

use std::{
    io::{self, Write},
    sync::Arc,
};

use axum::{
    http::{HeaderValue, header},
    response::Response,
};
use serde::Serialize;
use shared::event::Code;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::openapi::path::ParameterBuilder;

use super::{
    permits::Permits,
    problem::Problem,
    query::{Query, unknown_parameter},
    streaming::{self, Chunk, Text},
};
use crate::{
    http::openapi::{
        parameters::{self, number, whole},
        refusals::{problems, refusals},
    },
    store::{StoreError, query::Sink},
};

/// Rows of a page if no limit is given.
pub const DEFAULT_LIMIT: usize = 100;

/// Most rows of a page.
pub const MAX_LIMIT: usize = 1_000;

/// Most bytes of a page as sent: it ends before the row that would exceed this. A single row may be larger.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The same for a chunk of an export.
pub const CHUNK_BYTES: usize = 1024 * 1024;

/// A response of at most this many bytes needs no permit: even one for each connection fits the memory budget.
pub const SMALL_BYTES: usize = 64 * 1024;

/// How much a response may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// [`SMALL_BYTES`], without a permit.
    Small,
    /// [`PAGE_BYTES`], or one row.
    Page,
    /// [`CHUNK_BYTES`], or one row.
    Chunk,
}

impl Room {
    /// Its size.
    pub fn bytes(self) -> usize {
        match self {
            Self::Small => SMALL_BYTES,
            Self::Page => PAGE_BYTES,
            Self::Chunk => CHUNK_BYTES,
        }
    }
}

/// A rendered row. If it exceeds the room for it, its bytes are counted but not kept.
#[derive(Default)]
pub struct Row {
    text: Text,
    bytes: usize,
    most: usize,
}

impl Write for Row {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len();
        if self.bytes > self.most {
            self.text = Text::default();
        } else {
            self.text.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Renders rows while they are read from the store, so that the room is measured in bytes as sent.
pub struct Rows<T> {
    text: Text,
    row: Row,
    room: Room,
    between: &'static str,
    render: fn(T, &mut Row) -> Result<(), StoreError>,
    /// Rows rendered.
    pub count: usize,
    /// Whether a row did not fit.
    pub is_full: bool,
    failed: Option<StoreError>,
}

impl<T> Rows<T> {
    /// The items of a JSON list, each rendered from a row by `render`.
    pub fn items(room: Room, render: fn(T, &mut Row) -> Result<(), StoreError>) -> Self {
        Self::new(room, ",", render)
    }

    /// Rows that include their own terminator, such as lines.
    pub fn lines(room: Room, render: fn(T, &mut Row) -> Result<(), StoreError>) -> Self {
        Self::new(room, "", render)
    }

    fn new(
        room: Room,
        between: &'static str,
        render: fn(T, &mut Row) -> Result<(), StoreError>,
    ) -> Self {
        Self {
            text: Text::default(),
            row: Row::default(),
            room,
            between,
            render,
            count: 0,
            is_full: false,
            failed: None,
        }
    }

    /// The rendered text.
    ///
    /// # Errors
    /// The error of a row that could not be rendered.
    pub fn text(self) -> Result<Text, StoreError> {
        match self.failed {
            Some(err) => Err(err),
            None => Ok(self.text),
        }
    }

    /// The page of these rows: `page` with its empty list, which must be its first member, filled.
    ///
    /// # Errors
    /// 500 if a row could not be rendered.
    pub fn page(self, page: &impl Serialize) -> Result<Whole, Problem> {
        let is_cut = self.is_full;
        let rows = self.text().map_err(|err| Problem::internal(&err))?;
        let around = serde_json::to_string(page).expect("strings and numbers serialize as JSON");
        let (head, tail) = around
            .split_once("[]")
            .expect("the first member is an empty list");
        let text = rows.between(format!("{head}["), format!("]{tail}"));
        Ok(Whole { text, is_cut })
    }
}

impl<T: 'static> Sink<T> for Rows<T> {
    fn take(&mut self, row: T) -> bool {
        let between = if self.count > 0 { self.between } else { "" };
        let is_first_of_large = self.count == 0 && self.room != Room::Small;
        let used = self.text.len() + between.len();
        self.row.bytes = 0;
        self.row.most = if is_first_of_large {
            usize::MAX
        } else {
            self.room.bytes().saturating_sub(used)
        };
        if let Err(err) = (self.render)(row, &mut self.row) {
            self.failed = Some(err);
            return false;
        }
        if self.row.bytes > self.row.most {
            self.is_full = true;
            return false;
        }
        let between = self.text.write_all(between.as_bytes());
        between.expect("writing to memory cannot fail");
        self.text.append(&mut self.row.text);
        self.count += 1;
        true
    }
}

/// A JSON response that is complete in memory.
pub struct Whole {
    text: Text,
    /// Whether it was cut for lack of room.
    is_cut: bool,
}

impl Whole {
    /// A response of bounded size, which may exceed that of a small one.
    pub fn of(answer: &impl Serialize, room: Room) -> Self {
        let mut text = Text::default();
        serde_json::to_writer(&mut text, answer).expect("strings and numbers serialize as JSON");
        let is_cut = text.len() > room.bytes();
        Self { text, is_cut }
    }

    /// Marks it as cut for lack of room if `is_cut`.
    pub fn cut(self, is_cut: bool) -> Self {
        Self {
            is_cut: is_cut || self.is_cut,
            ..self
        }
    }

    /// The response, which holds its permit until the last frame is sent. A small one releases it immediately.
    pub fn answer(self, permit: Option<OwnedSemaphorePermit>) -> Response {
        let permit = permit.filter(|_| self.text.len() > SMALL_BYTES);
        Self::response(Chunk::new(self.text, permit.into_iter().collect()))
    }

    /// The response, which needs no permit because `held` bounds it: a large response keeps `held` until its last frame is
    /// sent, a small one drops it immediately.
    pub fn answer_within(self, held: impl Send + 'static) -> Response {
        let is_large = self.text.len() > SMALL_BYTES;
        let chunk = Chunk::new(self.text, Vec::new());
        Self::response(if is_large { chunk.holding(held) } else { chunk })
    }

    fn response(chunk: Chunk) -> Response {
        let mut answer = streaming::whole(chunk);
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer
    }
}

/// Responds with what `read` reads and renders. If no permit is free, it is read as a small response first; a larger one is
/// read again once a permit is free, so that waiting responses take no memory.
///
/// # Errors
/// Those of `read`.
pub async fn answer<F>(permits: &Permits, read: impl Fn(Room) -> F) -> Result<Response, Problem>
where
    F: Future<Output = Result<Whole, Problem>>,
{
    let permit = if let Ok(permit) = Arc::clone(&permits.pages).try_acquire_owned() {
        permit
    } else {
        let small = read(Room::Small).await?;
        if !small.is_cut {
            return Ok(small.answer(None));
        }
        drop(small);
        permits.page().await
    };
    Ok(read(Room::Page).await?.answer(Some(permit)))
}

/// The number in the parameter `cursor`: that of the last row of the previous page. To clients it is opaque.
///
/// # Errors
/// 422 if it is not a valid cursor.
pub fn cursor(query: &Query) -> Result<Option<i64>, Problem> {
    let parse = |text: &str| {
        let number = text.parse().ok().filter(|number| *number > 0);
        number.ok_or_else(wrong_cursor)
    };
    query.text("cursor").map(parse).transpose()
}

/// 422: the cursor does not belong to these rows.
pub fn wrong_cursor() -> Problem {
    let message = "is not a next_cursor that was returned for these rows".to_owned();
    Problem::invalid_query("cursor", Code::WrongType, message)
}

refusals! {
    /// Of a query of the store that is answered page by page.
    PagedRefusals = problems([unknown_parameter(&["limit", "cursor"]), wrong_limit(), wrong_cursor(), Problem::store_unreadable()]);

    /// Of a query whose result is a single page.
    SinglePageRefusals = problems([
        unknown_parameter(&["topic", "limit"]),
        wrong_limit(),
        Problem::store_unreadable(),
    ]);
}

/// The error for a limit that is out of range, for the OpenAPI document.
pub fn wrong_limit() -> Problem {
    let query = Query::parse(Some("limit=0"), &["limit"]);
    let limit = query.and_then(|query| query.limit(1, MAX_LIMIT));
    limit.expect_err("0 is below the minimum")
}

/// The parameter `limit`.
pub fn limit() -> ParameterBuilder {
    parameters::query("limit", "Maximum number of rows to return.").schema(Some(number(
        1,
        whole(MAX_LIMIT),
        Some(whole(DEFAULT_LIMIT)),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_room_is_counted_and_not_kept() {
        let part = vec![b'x'; 20_000];
        let mut row = Row {
            most: 40_000,
            ..Row::default()
        };
        for (bytes, kept) in [(20_000, 20_000), (40_000, 40_000), (60_000, 0), (80_000, 0)] {
            row.write_all(&part).unwrap();
            assert_eq!((row.bytes, row.text.len()), (bytes, kept));
        }
    }

    #[test]
    fn rows_are_packed_into_full_frames() {
        let mut rows = Rows::items(Room::Page, |row: &'static str, to| {
            to.write_all(row.as_bytes()).unwrap();
            Ok(())
        });
        let long = "y".repeat(48 * 1024).leak();
        for row in ["1", long, "2"] {
            assert!(rows.take(row));
        }
        let chunk = Chunk::new(rows.text().unwrap(), Vec::new());
        let frames: Vec<_> = chunk.frames().cloned().collect();
        let lengths: Vec<_> = frames.iter().map(bytes::Bytes::len).collect();
        assert_eq!(lengths, [16_384, 16_384, 16_384, 4]);
        assert_eq!(frames.concat(), format!("1,{long},2").into_bytes());
    }
}
