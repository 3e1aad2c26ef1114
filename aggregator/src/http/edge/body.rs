//! Request bodies: whole, unpacked, in bounded memory, in bounded time.

mod coding;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::HeaderMap, http::header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use serde::de::IgnoredAny;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::yield_now,
    time::timeout,
};

use self::coding::Coding;
use super::problem::{Cannot, Problem};
use crate::http::openapi::{
    parameters::{header as in_header, parameters},
    schemas::text,
};

/// Largest body, as it is sent and unpacked.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of bodies that may be in flight at once; beyond, requests are refused with 503.
const MAX_BYTES_IN_FLIGHT: usize = 64 * 1024 * 1024;

/// A body that is not whole after this time is refused with 408 and its connection closed.
pub const BODY_TIMEOUT: Duration = Duration::from_mins(1);

/// So much of a packed body is unpacked at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// Bodies that are unpacked at once; further ones wait. Each takes the window of its packing beside its bytes, up to 8 MiB,
/// and it is there when this begins, so that no sender can make others wait.
const UNPACKING: usize = 4;

/// The bytes of all bodies in flight.
#[derive(Debug, Clone)]
pub struct Intake {
    bytes: Arc<Semaphore>,
    unpacking: Arc<Semaphore>,
}

impl Default for Intake {
    fn default() -> Self {
        Self::of(MAX_BYTES_IN_FLIGHT)
    }
}

/// A whole body, unpacked, counted as in flight until it is dropped.
#[derive(Debug)]
pub struct Taken {
    /// Its bytes.
    pub bytes: Bytes,
    _held: Held,
}

/// Bytes that are counted as in flight until it is dropped.
#[derive(Debug)]
pub struct Held {
    intake: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// Counts so many bytes more.
    ///
    /// # Errors
    /// 503 where too many are in flight.
    pub fn add(&mut self, bytes: usize) -> Result<(), Problem> {
        let more = u32::try_from(bytes)
            .ok()
            .and_then(|more| Arc::clone(&self.intake).try_acquire_many_owned(more).ok())
            .ok_or_else(|| Problem::unavailable(Cannot::Hold))?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }
}

impl Intake {
    fn of(bytes: usize) -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(bytes)),
            unpacking: Arc::new(Semaphore::new(UNPACKING)),
        }
    }

    /// Counts bytes that are no body, but come from one.
    pub fn hold(&self) -> Held {
        Held {
            intake: Arc::clone(&self.bytes),
            permit: None,
        }
    }

    /// Reads a body, and unpacks it where the headers say that it is packed.
    ///
    /// # Errors
    /// 413, 408, 415, 503, or 400 where the sender stopped in the middle or it cannot be unpacked.
    pub async fn take(&self, headers: &HeaderMap, body: Body) -> Result<Taken, Problem> {
        let coding = Coding::of(headers)?;
        if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
            return Err(Problem::body_too_large(MAX_BODY_BYTES));
        }
        let mut sent = Growing::new(self.hold());
        match timeout(BODY_TIMEOUT, sent.read(body)).await {
            Ok(read) => read?,
            Err(_) => return Err(Problem::body_too_slow(BODY_TIMEOUT)),
        }
        if coding == Coding::Identity {
            return Ok(sent.taken());
        }
        let taken = async {
            let _place = self.unpacking.acquire().await;
            let mut unpacked = Growing::new(self.hold());
            unpacked.unpack(coding.unpacked(&sent.bytes)).await?;
            Ok(unpacked.taken())
        };
        let taken = timeout(BODY_TIMEOUT, taken).await;
        // It is this service that is slow then.
        taken.unwrap_or_else(|_| Err(Problem::unavailable(Cannot::Hold)))
    }
}

/// What is there of a body.
struct Growing {
    bytes: BytesMut,
    held: Held,
}

impl Growing {
    fn new(held: Held) -> Self {
        Self {
            bytes: BytesMut::new(),
            held,
        }
    }

    async fn read(&mut self, mut body: Body) -> Result<(), Problem> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::body_incomplete())?;
            if let Ok(data) = frame.into_data() {
                self.add(&data)?;
            }
        }
        Ok(())
    }

    async fn unpack(&mut self, mut unpacked: impl AsyncRead + Unpin) -> Result<(), Problem> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = unpacked.read(&mut piece).await;
            match read.map_err(|err| Problem::body_corrupt(&err))? {
                0 => return Ok(()),
                bytes => self.add(&piece[..bytes])?,
            }
            // A few bytes can unpack to all that is taken; other requests go on meanwhile.
            yield_now().await;
        }
    }

    fn taken(self) -> Taken {
        Taken {
            bytes: self.bytes.freeze(),
            _held: self.held,
        }
    }

    fn add(&mut self, data: &[u8]) -> Result<(), Problem> {
        if self.bytes.len() + data.len() > MAX_BODY_BYTES {
            return Err(Problem::body_too_large(MAX_BODY_BYTES));
        }
        self.held.add(data.len())?;
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

/// The media type that the headers say, without its parameters.
pub fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or("").trim())
}

/// Whether the headers say that the body is JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
}

parameters! {
    /// Of whatever has a body.
    Packed = [
        in_header("Content-Encoding", "How the body is packed. The limit of 16 MiB is that of the unpacked one.")
            .schema(Some(text().enum_values(Some(["identity", "gzip", "zstd"])))),
    ];
}

/// Refusals of reading a body, for the document.
pub fn of_a_body() -> [Problem; 6] {
    let corrupt = std::io::Error::other("invalid gzip header");
    [
        Problem::body_incomplete(),
        Problem::body_corrupt(&corrupt),
        Problem::body_too_slow(BODY_TIMEOUT),
        Problem::body_too_large(MAX_BODY_BYTES),
        Problem::unknown_coding(),
        Problem::unavailable(Cannot::Hold),
    ]
}

/// That of a body that is not JSON, for the document.
pub fn not_json() -> Problem {
    let parsed = serde_json::from_str::<IgnoredAny>("[\n{]");
    Problem::not_json(&parsed.expect_err("its braces are not closed"))
}
