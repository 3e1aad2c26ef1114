//! Pages: where they begin and end, and how rows become one while they are read.
//!
//! A large answer has a place from before it is read until its last frame is taken. A small one needs none, so it never waits
//! for clients that read slowly.

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
    places::Places,
    problem::Problem,
    query::{Query, unknown_parameter},
    streaming::{self, Piece, Text},
};
use crate::{
    http::openapi::{
        parameters::{self, number, whole},
        refusals::{problems, refusals},
    },
    store::{StoreError, query::Sink},
};

/// Rows of a page where no limit is given.
pub const DEFAULT_LIMIT: usize = 100;

/// Most rows of a page.
pub const MAX_LIMIT: usize = 1_000;

/// A page ends before the row with which it would have more bytes, as they are written. One row may be larger.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The same for a piece of an export.
pub const PIECE_BYTES: usize = 1024 * 1024;

/// An answer of at most this many bytes needs no place: of all connections they are within what memory may take.
pub const SMALL_BYTES: usize = 64 * 1024;

/// How much an answer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// [`SMALL_BYTES`], without a place.
    Small,
    /// [`PAGE_BYTES`], or one row.
    Page,
    /// [`PIECE_BYTES`], or one row.
    Piece,
}

impl Room {
    /// Its size.
    pub fn bytes(self) -> usize {
        match self {
            Self::Small => SMALL_BYTES,
            Self::Page => PAGE_BYTES,
            Self::Piece => PIECE_BYTES,
        }
    }
}

/// A row that is rendered. Where it has more bytes than may be sent they are counted, and not kept.
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

/// Renders rows while they are read from the store, so that its bytes are counted as they are sent.
pub struct Rows<T> {
    text: Text,
    row: Row,
    room: Room,
    between: &'static str,
    render: fn(T, &mut Row) -> Result<(), StoreError>,
    /// Rows taken.
    pub count: usize,
    /// Whether a row did not fit.
    pub is_full: bool,
    failed: Option<StoreError>,
}

impl<T> Rows<T> {
    /// The items of a list in JSON, each of which `shown` makes of a row.
    pub fn items(room: Room, render: fn(T, &mut Row) -> Result<(), StoreError>) -> Self {
        Self::new(room, ",", render)
    }

    /// Rows that end themselves, such as lines.
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

    /// What was rendered.
    ///
    /// # Errors
    /// That a row could not be.
    pub fn text(self) -> Result<Text, StoreError> {
        match self.failed {
            Some(err) => Err(err),
            None => Ok(self.text),
        }
    }

    /// The page that the rows are in: `page` with its empty list, its first member, filled.
    ///
    /// # Errors
    /// 500 where a row could not be rendered.
    pub fn page(self, page: &impl Serialize) -> Result<Whole, Problem> {
        let is_cut = self.is_full;
        let rows = self.text().map_err(|err| Problem::internal(&err))?;
        let around = serde_json::to_string(page).expect("texts and numbers are JSON");
        let (head, tail) = around.split_once("[]").expect("the list comes first");
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
        between.expect("memory takes all of it");
        self.text.append(&mut self.row.text);
        self.count += 1;
        true
    }
}

/// An answer as JSON, whole in memory.
pub struct Whole {
    text: Text,
    /// Whether there would have been more, had there been more room.
    is_cut: bool,
}

impl Whole {
    /// What is bounded by itself, but may be more than a small answer.
    pub fn of(answer: &impl Serialize, room: Room) -> Self {
        let mut text = Text::default();
        serde_json::to_writer(&mut text, answer).expect("texts and numbers are JSON");
        let is_cut = text.len() > room.bytes();
        Self { text, is_cut }
    }

    /// Marks it as one that would have had more with more room.
    pub fn cut(self, is_cut: bool) -> Self {
        Self {
            is_cut: is_cut || self.is_cut,
            ..self
        }
    }

    /// The answer, which has its place until the last frame is taken. A small one gives it back at once.
    pub fn answer(self, place: Option<OwnedSemaphorePermit>) -> Response {
        let place = place.filter(|_| self.text.len() > SMALL_BYTES);
        Self::sent(Piece::new(self.text, place.into_iter().collect()))
    }

    /// The answer, which needs no place, for it is bounded by `held`: that is kept until the last frame is taken, but not by
    /// a small one.
    pub fn answer_within(self, held: impl Send + 'static) -> Response {
        let is_large = self.text.len() > SMALL_BYTES;
        let piece = Piece::new(self.text, Vec::new());
        Self::sent(if is_large { piece.holding(held) } else { piece })
    }

    fn sent(piece: Piece) -> Response {
        let mut answer = streaming::whole(piece);
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer
    }
}

/// Answers with what `read` reads and renders. While all places are taken it is tried as a small answer first; what is
/// larger is read again once there is a place, so that what waits is not in memory.
///
/// # Errors
/// Those of `read`.
pub async fn answer<F>(places: &Places, read: impl Fn(Room) -> F) -> Result<Response, Problem>
where
    F: Future<Output = Result<Whole, Problem>>,
{
    let place = if let Ok(place) = Arc::clone(&places.pages).try_acquire_owned() {
        place
    } else {
        let small = read(Room::Small).await?;
        if !small.is_cut {
            return Ok(small.answer(None));
        }
        drop(small);
        places.page().await
    };
    Ok(read(Room::Page).await?.answer(Some(place)))
}

/// The number in the parameter `cursor`: that of the last row shown. To those who use the API it is opaque.
///
/// # Errors
/// 422 where it is none.
pub fn cursor(query: &Query) -> Result<Option<i64>, Problem> {
    let parse = |text: &str| {
        let number = text.parse().ok().filter(|number| *number > 0);
        number.ok_or_else(wrong_cursor)
    };
    query.text("cursor").map(parse).transpose()
}

/// 422: the cursor is none of these rows.
pub fn wrong_cursor() -> Problem {
    let message = "is not one that was given out as next_cursor for these rows".to_owned();
    Problem::invalid_query("cursor", Code::WrongType, message)
}

refusals! {
    /// Of a question that the store answers, a page at a time.
    Asked = problems([unknown_parameter(&["limit", "cursor"]), wrong_limit(), wrong_cursor(), Problem::store_unreadable()]);

    /// Of one whose answer is a single page.
    AskedOnce = problems([unknown_parameter(&["topic", "limit"]), wrong_limit(), Problem::store_unreadable()]);
}

/// For the document.
pub fn wrong_limit() -> Problem {
    let query = Query::parse(Some("limit=0"), &["limit"]);
    let limit = query.and_then(|query| query.limit(1, MAX_LIMIT));
    limit.expect_err("it is too small")
}

/// The parameter `limit`.
pub fn limit() -> ParameterBuilder {
    parameters::query("limit", "Most rows.").schema(Some(number(
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
        let part = [b'x'; 20_000];
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
    fn rows_follow_each_other_in_whole_frames() {
        let mut rows = Rows::items(Room::Page, |row: &'static str, to| {
            to.write_all(row.as_bytes()).unwrap();
            Ok(())
        });
        let long = "y".repeat(48 * 1024).leak();
        for row in ["1", long, "2"] {
            assert!(rows.take(row));
        }
        let piece = Piece::new(rows.text().unwrap(), Vec::new());
        let frames: Vec<_> = piece.frames().cloned().collect();
        let lengths: Vec<_> = frames.iter().map(bytes::Bytes::len).collect();
        assert_eq!(lengths, [16_384, 16_384, 16_384, 4]);
        assert_eq!(frames.concat(), format!("1,{long},2").into_bytes());
    }
}
