//! Packed bodies: which `Content-Encoding` is read, and how.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use async_compression::{
    tokio::bufread::{GzipDecoder, ZstdDecoder},
    zstd::DParameter,
};
use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, header},
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::MAX_BODY_BYTES;
use crate::http::problem::Problem;

/// The base-2 logarithm of the largest window that a zstd frame may ask for: 8 MiB, which every decoder should take
/// (RFC 8878, 3.1.1.1.2).
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Identity,
    /// RFC 1952, of any number of members.
    Gzip,
    /// RFC 8878, of any number of frames.
    Zstd,
}

impl Coding {
    /// What the headers say.
    ///
    /// # Errors
    /// 415 for any other coding, and for more than one.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut coding = Self::Identity;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let value = value.to_str().map_err(|_| Problem::unknown_coding())?;
            for name in value.split(',').map(str::trim) {
                // `x-gzip` is the same (RFC 9110, 8.4.1.3).
                let next = match name.to_ascii_lowercase().as_str() {
                    "" | "identity" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "zstd" => Self::Zstd,
                    _ => return Err(Problem::unknown_coding()),
                };
                if coding != Self::Identity {
                    return Err(Problem::unknown_coding());
                }
                coding = next;
            }
        }
        Ok(coding)
    }

    /// The unpacked body; none where it is not packed. Nothing is read ahead of what was asked for.
    pub fn unpacked(self, body: Body) -> Result<Pin<Box<dyn AsyncRead + Send>>, Body> {
        let wire = |body: Body| {
            StreamReader::new(Wire {
                frames: body.into_data_stream(),
                bytes: 0,
            })
        };
        match self {
            Self::Identity => Err(body),
            Self::Gzip => {
                let mut reader = GzipDecoder::new(wire(body));
                reader.multiple_members(true);
                Ok(Box::pin(reader))
            }
            Self::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
                let mut reader = ZstdDecoder::with_params(wire(body), &[window]);
                reader.multiple_members(true);
                Ok(Box::pin(reader))
            }
        }
    }
}

/// What the sender is told of an error while unpacking.
pub fn problem(err: &io::Error) -> Problem {
    match err.get_ref().and_then(|err| err.downcast_ref()) {
        Some(WireError::Ended) => Problem::body_incomplete(),
        Some(WireError::TooLong) => Problem::body_too_large(MAX_BODY_BYTES),
        None => Problem::body_corrupt(err),
    }
}

/// What is wrong with a body before it is unpacked.
#[derive(Debug, thiserror::Error)]
enum WireError {
    #[error("the body ended before it was whole")]
    Ended,
    /// Members and frames can be empty: a body that unpacks to nothing ends all the same.
    #[error("the body is too long")]
    TooLong,
}

/// A body as it comes, packed; at most [`MAX_BODY_BYTES`] of it.
struct Wire {
    frames: BodyDataStream,
    bytes: usize,
}

impl Stream for Wire {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.frames.poll_next_unpin(cx).map(|frame| {
            let Ok(data) = frame? else {
                return Some(Err(io::Error::other(WireError::Ended)));
            };
            self.bytes += data.len();
            Some(match self.bytes {
                ..=MAX_BODY_BYTES => Ok(data),
                _ => Err(io::Error::other(WireError::TooLong)),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(values: &[&'static str]) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        Coding::of(&headers).ok()
    }

    #[test]
    fn one_known_coding_is_read_and_no_more() {
        assert_eq!(of(&[]), Some(Coding::Identity));
        assert_eq!(of(&["identity"]), Some(Coding::Identity));
        assert_eq!(of(&["GZip"]), Some(Coding::Gzip));
        assert_eq!(of(&["identity, x-gzip"]), Some(Coding::Gzip));
        assert_eq!(of(&["zstd", "identity"]), Some(Coding::Zstd));
        for wrong in [
            &["br"][..],
            &["gzip, gzip"],
            &["gzip", "zstd"],
            &["deflate"],
        ] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }
}
