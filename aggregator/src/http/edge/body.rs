//! Request bodies: read completely and decompressed, in bounded memory and time.

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
use super::problem::{Problem, Unavailable};
use crate::http::openapi::{
    parameters::{header as in_header, parameters},
    schemas::text,
};

/// Maximum size of a body, both as sent and decompressed.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Maximum total size of the bodies in flight unless memory is scarce; requests beyond this are refused with 503.
const MAX_BYTES_IN_FLIGHT: usize = 64 * 1024 * 1024;

/// A body that is not complete after this time is refused with 408, and its connection is closed. Decompression, including the
/// wait for it, may take as long again; after that the request is refused with 503.
pub const BODY_TIMEOUT: Duration = Duration::from_mins(1);

/// Size of the buffer into which a body is decompressed, one chunk at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Bytes in flight for each body that may be decompressed concurrently; further bodies wait. Each takes a window of up to 8 MiB in
/// addition to its bytes. Decompression starts only when the body has arrived completely, so a slow sender cannot make others wait.
const BYTES_PER_DECOMPRESSION: usize = 16 * 1024 * 1024;

/// Limits on request bodies: the bytes in flight, and how many bodies are decompressed concurrently.
#[derive(Debug, Clone)]
pub struct Intake {
    bytes: Arc<Semaphore>,
    decompressing: Arc<Semaphore>,
}

impl Default for Intake {
    fn default() -> Self {
        Self::of(MAX_BYTES_IN_FLIGHT)
    }
}

/// A complete, decompressed body, which counts as in flight until it is dropped.
#[derive(Debug)]
pub struct ReceivedBody {
    /// Its bytes.
    pub bytes: Bytes,
    _held: HeldBytes,
}

/// Bytes that count as in flight until this is dropped.
#[derive(Debug)]
pub struct HeldBytes {
    intake: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl HeldBytes {
    /// Counts another `bytes` bytes as in flight.
    ///
    /// # Errors
    /// 503 if the limit on bytes in flight would be exceeded; the count is then unchanged.
    pub fn add(&mut self, bytes: usize) -> Result<(), Problem> {
        let more = u32::try_from(bytes)
            .ok()
            .and_then(|more| Arc::clone(&self.intake).try_acquire_many_owned(more).ok())
            .ok_or_else(|| Problem::unavailable(Unavailable::TooManyBytes))?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }
}

impl Intake {
    /// Limits the bodies in flight to this many bytes in all.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        let decompressing = (bytes / BYTES_PER_DECOMPRESSION).max(1);
        Self {
            bytes: Arc::new(Semaphore::new(bytes)),
            decompressing: Arc::new(Semaphore::new(decompressing)),
        }
    }

    /// Starts a count at zero, for the bytes of a body or of data derived from one.
    #[must_use]
    pub fn hold(&self) -> HeldBytes {
        HeldBytes {
            intake: Arc::clone(&self.bytes),
            permit: None,
        }
    }

    /// Reads a body and decompresses it according to `Content-Encoding`.
    ///
    /// # Errors
    /// 408, 413, 415, 503, or 400 if the body ends early or cannot be decompressed.
    pub async fn take(&self, headers: &HeaderMap, body: Body) -> Result<ReceivedBody, Problem> {
        let coding = Coding::of(headers)?;
        if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
            return Err(Problem::body_too_large(MAX_BODY_BYTES));
        }
        let mut sent = PartialBody::new(self.hold());
        match timeout(BODY_TIMEOUT, sent.read(body)).await {
            Ok(read) => read?,
            Err(_) => return Err(Problem::body_too_slow(BODY_TIMEOUT)),
        }
        if coding == Coding::Identity {
            return Ok(sent.finish());
        }
        let decompressed = async {
            let _permit = self.decompressing.acquire().await;
            let mut decompressed = PartialBody::new(self.hold());
            decompressed
                .decompress(coding.decompressed(&sent.bytes))
                .await?;
            Ok(decompressed.finish())
        };
        let decompressed = timeout(BODY_TIMEOUT, decompressed).await;
        // A timeout here is the service's fault, not the sender's: hence 503, not 408.
        decompressed.unwrap_or_else(|_| Err(Problem::unavailable(Unavailable::TooManyBytes)))
    }
}

/// The part of a body that has been read or decompressed so far.
struct PartialBody {
    bytes: BytesMut,
    held: HeldBytes,
}

impl PartialBody {
    fn new(held: HeldBytes) -> Self {
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

    async fn decompress(
        &mut self,
        mut decompressed: impl AsyncRead + Unpin,
    ) -> Result<(), Problem> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = decompressed.read(&mut chunk).await;
            match read.map_err(|err| Problem::body_corrupt(&err))? {
                0 => return Ok(()),
                bytes => self.add(&chunk[..bytes])?,
            }
            // Even a small body can decompress to 16 MiB: yield to let other requests proceed.
            yield_now().await;
        }
    }

    fn finish(self) -> ReceivedBody {
        ReceivedBody {
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

/// The media type of `Content-Type`, without its parameters.
pub fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or("").trim())
}

/// Whether `Content-Type` is JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
}

parameters! {
    /// The header parameter of every operation with a body.
    ContentEncoding = [
        in_header("Content-Encoding", "How the body is compressed. The limit of 16 MiB also applies to the decompressed body.")
            .schema(Some(text().enum_values(Some(["identity", "gzip", "zstd"])))),
    ];
}

/// The errors that reading a body can return, for the OpenAPI document.
pub fn body_problems() -> [Problem; 6] {
    let corrupt = std::io::Error::other("invalid gzip header");
    [
        Problem::body_incomplete(),
        Problem::body_corrupt(&corrupt),
        Problem::body_too_slow(BODY_TIMEOUT),
        Problem::body_too_large(MAX_BODY_BYTES),
        Problem::unknown_coding(),
        Problem::unavailable(Unavailable::TooManyBytes),
    ]
}

/// The error for a body that is not JSON, for the OpenAPI document.
pub fn not_json() -> Problem {
    let parsed = serde_json::from_str::<IgnoredAny>("[\n{]");
    Problem::not_json(&parsed.expect_err("the brackets do not match"))
}
