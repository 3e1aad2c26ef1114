//! Responses in small frames, with a deadline for the client to read each chunk. Proxies are asked to pass on the parts of
//! incremental responses immediately.

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

/// Bytes that the connection gets at a time. It asks for more when it has written most of them, so it never buffers much.
const FRAME_BYTES: usize = 16 * 1024;

/// Text in frames of one size, each in its own allocation, so that memory is freed as frames are sent.
#[derive(Debug, Default)]
pub struct Text {
    frames: VecDeque<Bytes>,
    open: Vec<u8>,
    bytes: usize,
}

impl Text {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// This text with `head` before and `tail` after it.
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

    /// Moves the other text to the end of this one.
    pub fn append(&mut self, other: &mut Self) {
        for frame in other.frames.drain(..) {
            self.write_all(&frame)
                .expect("writing to memory cannot fail");
        }
        self.write_all(&other.open)
            .expect("writing to memory cannot fail");
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
        // Growth by doubling could take twice the memory that the text needs.
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

/// A part of a response, with the permits that it holds until its last frame is sent.
pub struct Chunk {
    frames: VecDeque<Bytes>,
    permits: Vec<OwnedSemaphorePermit>,
    /// Anything else that must be kept as long as the chunk is in memory.
    held: Option<Box<dyn Send>>,
    deadline: Instant,
}

impl Chunk {
    /// The client must read it within a time that starts now and grows with its size.
    pub fn new(text: Text, permits: Vec<OwnedSemaphorePermit>) -> Self {
        Self {
            deadline: deadline::of(text.len()),
            frames: text.into_frames(),
            permits,
            held: None,
        }
    }

    /// Keeps `held` until the last frame is sent.
    #[must_use]
    pub fn holding(mut self, held: impl Send + 'static) -> Self {
        self.held = Some(Box::new(held));
        self
    }

    /// A chunk of frames that several responses share in memory.
    pub fn shared(frames: VecDeque<Bytes>) -> Self {
        let bytes = frames.iter().map(Bytes::len).sum();
        Self {
            deadline: deadline::of(bytes),
            frames,
            permits: Vec::new(),
            held: None,
        }
    }

    /// The frames that are not sent yet.
    #[cfg(test)]
    pub fn frames(&self) -> impl Iterator<Item = &Bytes> {
        self.frames.iter()
    }

    fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        if self.frames.is_empty() {
            return Ok(None);
        }
        if Instant::now() > self.deadline {
            let late = "the client did not read the response in time";
            return Err(io::Error::new(io::ErrorKind::TimedOut, late).into());
        }
        let frame = self.frames.pop_front();
        if self.frames.is_empty() {
            self.permits.clear();
            self.held = None;
        }
        Ok(frame)
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        let mut text = Text::default();
        if bytes.len() <= FRAME_BYTES {
            text.bytes = bytes.len();
            text.frames.push_back(bytes);
        } else {
            text.write_all(&bytes)
                .expect("writing to memory cannot fail");
        }
        Self::new(text, Vec::new())
    }
}

/// Chunks in small frames. A client that misses the deadline of a chunk is disconnected, so that it does not hold a permit
/// forever; the server handles a client that reads nothing at all.
struct Framed {
    chunk: Option<Chunk>,
    /// Bytes left to send, if known.
    left: Option<u64>,
    chunks: BoxStream<'static, Result<Chunk, BoxError>>,
    /// The deadline of the current chunk.
    deadline: Deadline,
}

impl Framed {
    fn new(chunks: BoxStream<'static, Result<Chunk, BoxError>>) -> Self {
        Self {
            chunk: None,
            left: None,
            chunks,
            deadline: Deadline::default(),
        }
    }

    /// The response, with its length if known.
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
            let frame = match &mut self.chunk {
                Some(chunk) => chunk.next()?,
                None => None,
            };
            if let Some(frame) = frame {
                self.left = self.left.map(|left| left - frame.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(frame))));
            }
            self.chunk = None;
            match ready!(self.chunks.poll_next_unpin(cx)) {
                Some(chunk) => {
                    let chunk = chunk?;
                    self.deadline.set(chunk.deadline);
                    self.chunk = Some(chunk);
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

/// A response of a single chunk.
pub fn whole(chunk: Chunk) -> Response {
    let length: usize = chunk.frames.iter().map(Bytes::len).sum();
    let framed = Framed::new(futures::stream::iter([Ok(chunk)]).boxed());
    framed.answer(Some(length as u64))
}

/// A response of chunks, whose length is not known in advance.
pub fn stream(chunks: impl Stream<Item = Result<Chunk, BoxError>> + Send + 'static) -> Response {
    Framed::new(chunks.boxed()).answer(None)
}

/// The same response in small frames, after an optional first chunk. Each part of its body gets its own deadline.
pub fn in_frames(first: Option<Chunk>, answer: Response) -> Response {
    let (head, body) = answer.into_parts();
    let chunks = body.into_data_stream().map(|data| match data {
        Ok(bytes) => Ok(Chunk::from(bytes)),
        Err(err) => Err(err.into()),
    });
    let chunks = futures::stream::iter(first.map(Ok)).chain(chunks);
    let mut framed = Framed::new(chunks.boxed()).answer(None);
    *framed.status_mut() = head.status;
    *framed.headers_mut() = head.headers;
    framed
}

/// Refuses responses without a length over HTTP/1.0, where closing the connection ends the response: a truncated one would
/// look complete. Server-sent events are exempt: they have no end to mistake, and a client reconnects and resumes. This
/// lets nginx proxy them, which before version 1.29.7 uses HTTP/1.0 unless configured otherwise.
pub fn whole_over_http_1_0(version: Version, answer: Response) -> Response {
    let is_endless = answer.headers().get(header::CONTENT_TYPE)
        == Some(&HeaderValue::from_static("text/event-stream"));
    if version > Version::HTTP_10 || is_endless || answer.body().size_hint().exact().is_some() {
        return answer;
    }
    Problem::needs_http_1_1().into_response()
}

/// Whether nginx, and proxies that follow its example, buffer the response.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Adds a header that asks proxies to pass on each part of the response immediately.
pub fn unbuffered(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    answer
}

/// Server-sent events after an optional first chunk. Proxies are asked to neither store nor buffer nor compress them: to
/// compress, a proxy collects parts of the response.
pub fn events(first: Option<Chunk>, answer: Response) -> Response {
    let mut answer = unbuffered(in_frames(first, answer));
    let control = HeaderValue::from_static("no-store, no-transform");
    answer.headers_mut().insert(header::CACHE_CONTROL, control);
    answer
}
