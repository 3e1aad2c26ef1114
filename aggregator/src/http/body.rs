//! Request bodies: whole, in bounded memory, in bounded time.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::HeaderMap, http::header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::problem::{Cannot, Problem};

/// Largest body.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of bodies that may be in flight at once; beyond, requests are refused with 503.
const MAX_BYTES_IN_FLIGHT: usize = 64 * 1024 * 1024;

/// A body that is not whole after this time is refused with 408 and its connection closed.
pub const BODY_TIMEOUT: Duration = Duration::from_mins(1);

/// The bytes of all bodies in flight.
#[derive(Debug, Clone)]
pub struct Intake(Arc<Semaphore>);

impl Default for Intake {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_BYTES_IN_FLIGHT)))
    }
}

/// A whole body, counted as in flight until it is dropped.
#[derive(Debug)]
pub struct Taken {
    /// Its bytes.
    pub bytes: Bytes,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Intake {
    /// Reads a body.
    ///
    /// # Errors
    /// 413, 408, 503, or 400 where the sender stopped in the middle.
    pub async fn take(&self, body: Body) -> Result<Taken, Problem> {
        if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
            return Err(Problem::body_too_large(MAX_BODY_BYTES));
        }
        let deadline = Instant::now() + BODY_TIMEOUT;
        let mut body = body;
        let mut bytes = BytesMut::new();
        let mut permit: Option<OwnedSemaphorePermit> = None;
        loop {
            let frame = match timeout_at(deadline, body.frame()).await {
                Ok(None) => break,
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => return Err(Problem::body_incomplete()),
                Err(_) => return Err(Problem::body_too_slow(BODY_TIMEOUT)),
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > MAX_BODY_BYTES {
                return Err(Problem::body_too_large(MAX_BODY_BYTES));
            }
            let more = u32::try_from(data.len())
                .ok()
                .and_then(|more| Arc::clone(&self.0).try_acquire_many_owned(more).ok())
                .ok_or_else(|| Problem::unavailable(Cannot::Hold))?;
            match &mut permit {
                Some(permit) => permit.merge(more),
                None => permit = Some(more),
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Taken {
            bytes: bytes.freeze(),
            _permit: permit,
        })
    }
}

/// Whether the headers say that the body is JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str())
    else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_in_flight_are_bounded_and_returned() {
        let intake = Intake::default();
        let body = || Body::from(vec![b' '; MAX_BODY_BYTES]);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(intake.take(body()).await.unwrap());
        }
        assert!(intake.take(Body::from("x")).await.is_err());
        held.pop();
        assert!(intake.take(body()).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        let body = Body::from(vec![b' '; MAX_BODY_BYTES + 1]);
        assert!(Intake::default().take(body).await.is_err());
    }
}
