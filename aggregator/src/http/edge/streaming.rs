//! Answers in small frames, held to a deadline; those that come bit by bit are passed on at once.

use std::{
    collections::VecDeque,
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    BoxError,
    body::{Body, HttpBody},
    http::{HeaderName, HeaderValue, Version, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};
use hyper::body::{Frame, SizeHint};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    problem::Problem,
    server::deadline::{self, Deadline},
};
use crate::store::StoreError;

/// What the connection gets at once. It asks for more when it has written most of what it has, so it never holds much.
const FRAME_BYTES: usize = 16 * 1024;

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

    /// The same between two others.
    #[must_use]
    pub fn between(self, head: String, tail: String) -> Self {
        let bytes = self.bytes + head.len() + tail.len();
        let mut frames = self.into_frames();
        frames.push_front(head.into());
        frames.push_back(tail.into());
        Self {
            frames,
            open: Vec::new(),
            bytes,
        }
    }

    /// Moves the other text behind this one.
    pub fn append(&mut self, other: &mut Self) {
        for frame in other.frames.drain(..) {
            self.write_all(&frame).expect("memory takes all of it");
        }
        self.write_all(&other.open).expect("memory takes all of it");
        other.open.clear();
        other.bytes = 0;
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

    /// The same, and `held` is kept until its last frame is taken.
    #[must_use]
    pub fn holding(mut self, held: impl Send + 'static) -> Self {
        self.held = Some(Box::new(held));
        self
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

/// An answer of one piece.
pub fn whole(piece: Piece) -> Response {
    let length: usize = piece.frames.iter().map(Bytes::len).sum();
    let framed = Framed::new(futures::stream::iter([Ok(piece)]).boxed());
    framed.answer(Some(length as u64))
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

/// By which nginx, and others after its example, are told whether to hold an answer back until their buffers are full.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The answer with a header that asks proxies to pass on each part of it at once.
pub fn unbuffered(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    answer
}
