//! Answers that take memory: rendered row by row, sent in small frames, and held to a deadline.
//!
//! A large answer has a place from before it is read until its last frame is taken. A small one needs none, so it never waits
//! for clients that read slowly.

use std::{
    collections::VecDeque,
    io::{self, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    BoxError,
    body::{Body, HttpBody},
    http::{HeaderValue, Version, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;
use shared::event::Code;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    places::Places,
    problem::Problem,
    query::Query,
    server::deadline::{self, Deadline},
};
use crate::store::{StoreError, reader::Sink};

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

/// What the connection gets at once. It asks for more when it has written most of what it has, so it never holds much.
const FRAME_BYTES: usize = 16 * 1024;

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

/// Text in frames of one size, each with memory of its own: what is sent is free again.
#[derive(Debug, Default)]
pub struct Text {
    frames: VecDeque<Bytes>,
    open: Vec<u8>,
    bytes: usize,
}

impl Text {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.bytes
    }

    fn into_frames(mut self) -> VecDeque<Bytes> {
        if !self.open.is_empty() {
            self.frames.push_back(self.open.into());
        }
        self.frames
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Growing by doubling would take up to twice as much as is in it.
        self.open.reserve_exact(FRAME_BYTES - self.open.len());
        let taken = bytes.len().min(FRAME_BYTES - self.open.len());
        self.open.extend_from_slice(&bytes[..taken]);
        if self.open.len() == FRAME_BYTES {
            self.frames.push_back(std::mem::take(&mut self.open).into());
        }
        self.bytes += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Renders rows while they are read from the store, so that its bytes are counted as they are sent.
pub struct Rows<T> {
    text: Text,
    row: Vec<u8>,
    room: Room,
    between: &'static str,
    render: fn(T, &mut Vec<u8>) -> Result<(), StoreError>,
    /// Rows taken.
    pub count: usize,
    /// Whether a row did not fit.
    pub is_full: bool,
    failed: Option<StoreError>,
}

impl<T> Rows<T> {
    /// The items of a list in JSON, each of which `shown` makes of a row.
    pub fn items(room: Room, render: fn(T, &mut Vec<u8>) -> Result<(), StoreError>) -> Self {
        Self::new(room, ",", render)
    }

    /// Rows that end themselves, such as lines.
    pub fn lines(room: Room, render: fn(T, &mut Vec<u8>) -> Result<(), StoreError>) -> Self {
        Self::new(room, "", render)
    }

    fn new(
        room: Room,
        between: &'static str,
        render: fn(T, &mut Vec<u8>) -> Result<(), StoreError>,
    ) -> Self {
        Self {
            text: Text::default(),
            row: Vec::new(),
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
        let bytes = rows.len() + around.len();
        let mut frames = rows.into_frames();
        frames.push_front(format!("{head}[").into());
        frames.push_back(format!("]{tail}").into());
        let text = Text {
            frames,
            open: Vec::new(),
            bytes,
        };
        Ok(Whole { text, is_cut })
    }
}

impl<T: 'static> Sink<T> for Rows<T> {
    fn take(&mut self, row: T) -> bool {
        self.row.clear();
        if let Err(err) = (self.render)(row, &mut self.row) {
            self.failed = Some(err);
            return false;
        }
        let between = if self.count > 0 { self.between } else { "" };
        let is_first_of_large = self.count == 0 && self.room != Room::Small;
        let bytes = self.text.len() + between.len() + self.row.len();
        if bytes > self.room.bytes() && !is_first_of_large {
            self.is_full = true;
            return false;
        }
        for part in [between.as_bytes(), &self.row] {
            self.text.write_all(part).expect("memory takes all of it");
        }
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
        let mut piece = Piece::new(self.text, Vec::new());
        if is_large {
            piece.held = Some(Box::new(held));
        }
        Self::sent(piece)
    }

    fn sent(piece: Piece) -> Response {
        let length: usize = piece.frames.iter().map(Bytes::len).sum();
        let framed = Framed::new(futures::stream::iter([Ok(piece)]).boxed());
        let mut answer = framed.answer(Some(length as u64));
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

/// A part of an answer, with the places that it has until its last frame is taken.
pub struct Piece {
    frames: VecDeque<Bytes>,
    places: Vec<OwnedSemaphorePermit>,
    /// What else counts it as long as it is in memory.
    held: Option<Box<dyn Send>>,
    deadline: Instant,
}

impl Piece {
    /// It has to be taken in a time that grows with its size, from now.
    pub fn new(text: Text, places: Vec<OwnedSemaphorePermit>) -> Self {
        Self {
            deadline: deadline::of(text.len()),
            frames: text.into_frames(),
            places,
            held: None,
        }
    }

    /// Frames that are in memory once however many answers have them.
    pub fn shared(frames: VecDeque<Bytes>) -> Self {
        let bytes = frames.iter().map(Bytes::len).sum();
        Self {
            deadline: deadline::of(bytes),
            frames,
            places: Vec::new(),
            held: None,
        }
    }

    /// What is left of it.
    #[cfg(test)]
    pub fn frames(&self) -> impl Iterator<Item = &Bytes> {
        self.frames.iter()
    }

    fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        if self.frames.is_empty() {
            return Ok(None);
        }
        if Instant::now() > self.deadline {
            let late = "the client did not take the answer in time";
            return Err(io::Error::new(io::ErrorKind::TimedOut, late).into());
        }
        let frame = self.frames.pop_front();
        if self.frames.is_empty() {
            self.places.clear();
            self.held = None;
        }
        Ok(frame)
    }
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        let mut text = Text::default();
        if bytes.len() <= FRAME_BYTES {
            text.bytes = bytes.len();
            text.frames.push_back(bytes);
        } else {
            text.write_all(&bytes).expect("memory takes all of it");
        }
        Self::new(text, Vec::new())
    }
}

/// Pieces in small frames. A client that is late for a piece is cut off, so that it holds no place for ever; the
/// server sees to a client that takes nothing at all.
struct Framed {
    piece: Option<Piece>,
    /// Bytes to come, where they are known.
    left: Option<u64>,
    pieces: BoxStream<'static, Result<Piece, BoxError>>,
    /// That of the piece.
    deadline: Deadline,
}

impl Framed {
    fn new(pieces: BoxStream<'static, Result<Piece, BoxError>>) -> Self {
        Self {
            piece: None,
            left: None,
            pieces,
            deadline: Deadline::default(),
        }
    }

    /// The answer, of so many bytes where they are known.
    fn answer(mut self, length: Option<u64>) -> Response {
        self.left = length;
        let deadline = self.deadline.clone();
        let mut answer = Body::new(self).into_response();
        answer.extensions_mut().insert(deadline);
        answer
    }
}

impl HttpBody for Framed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            let frame = match &mut self.piece {
                Some(piece) => piece.next()?,
                None => None,
            };
            if let Some(frame) = frame {
                self.left = self.left.map(|left| left - frame.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(frame))));
            }
            self.piece = None;
            match ready!(self.pieces.poll_next_unpin(cx)) {
                Some(piece) => {
                    let piece = piece?;
                    self.deadline.set(piece.deadline);
                    self.piece = Some(piece);
                }
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// An answer of pieces, whose length nobody knows before its end.
pub fn stream(pieces: impl Stream<Item = Result<Piece, StoreError>> + Send + 'static) -> Response {
    let pieces = pieces.map(|piece| piece.map_err(Into::into));
    Framed::new(pieces.boxed()).answer(None)
}

/// The same answer in small frames, each of its own to be taken by the deadline, after a piece that comes first.
pub fn in_frames(first: Option<Piece>, answer: Response) -> Response {
    let (head, body) = answer.into_parts();
    let pieces = body.into_data_stream().map(|data| match data {
        Ok(bytes) => Ok(Piece::from(bytes)),
        Err(err) => Err(err.into()),
    });
    let pieces = futures::stream::iter(first.map(Ok)).chain(pieces);
    let mut framed = Framed::new(pieces.boxed()).answer(None);
    *framed.status_mut() = head.status;
    *framed.headers_mut() = head.headers;
    framed
}

/// Refuses answers without a length over HTTP/1.0, where the end of the connection is the end of the answer: one that was
/// cut off would look whole. Server-sent events have no end that a client could take for the whole: it connects again and
/// goes on where it was, so they are sent, to nginx too, which asks with HTTP/1.0 unless it is told otherwise.
pub fn whole_over_http_1_0(version: Version, answer: Response) -> Response {
    let is_endless = answer.headers().get(header::CONTENT_TYPE)
        == Some(&HeaderValue::from_static("text/event-stream"));
    if version > Version::HTTP_10 || is_endless || answer.body().size_hint().exact().is_some() {
        return answer;
    }
    Problem::needs_http_1_1().into_response()
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
