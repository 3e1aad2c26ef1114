//! Compressed bodies: the supported `Content-Encoding`s and their decoders.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use async_compression::{
    tokio::bufread::{GzipDecoder, ZstdDecoder},
    zstd::DParameter,
};
use axum::http::{HeaderMap, header};
use tokio::io::{AsyncRead, ReadBuf};

use crate::http::edge::problem::Problem;

/// The base-2 logarithm of the largest window that a zstd frame may need: 8 MiB, the limit for the content coding `zstd`
/// (RFC 9659, which makes the recommendation of RFC 8878, 3.1.1.1.2 a requirement).
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Identity,
    /// RFC 1952: any number of members, with optional zeros after the last.
    Gzip,
    /// RFC 8878: any number of frames.
    Zstd,
}

impl Coding {
    /// The coding in `Content-Encoding`; [`Self::Identity`] if there is none.
    ///
    /// # Errors
    /// 415 for an unsupported coding, and for more than one besides `identity`.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut coding = Self::Identity;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let value = value.to_str().map_err(|_| Problem::unknown_coding())?;
            for name in value.split(',').map(str::trim) {
                // `x-gzip` is equivalent to `gzip` (RFC 9110, 8.4.1.3).
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

    /// Returns a reader that decompresses `body` as it is read.
    pub fn decompressed(self, body: &[u8]) -> Pin<Box<dyn AsyncRead + Send + '_>> {
        match self {
            Self::Identity => Box::pin(body),
            Self::Gzip => Box::pin(Members {
                rest: body,
                current: None,
            }),
            Self::Zstd => {
                let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
                let mut reader = ZstdDecoder::with_params(body, &[window]);
                reader.multiple_members(true);
                Box::pin(reader)
            }
        }
    }
}

/// The bits of a member's flags that must be zero (RFC 1952, 2.3.1.2).
const RESERVED_FLAGS: u8 = 0b1110_0000;

/// Reads the members of a gzip body in order. Zeros after the last member are padding and ignored, as by gzip(1).
struct Members<'a> {
    /// The body from the start of the current member.
    rest: &'a [u8],
    current: Option<GzipDecoder<&'a [u8]>>,
}

impl Members<'_> {
    fn begin(&mut self) -> io::Result<()> {
        // The decoder does not check the reserved flags.
        let flags = self.rest.get(3).copied().unwrap_or_default();
        if flags & RESERVED_FLAGS != 0 {
            let message = "the gzip header has reserved flags";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.current = Some(GzipDecoder::new(self.rest));
        Ok(())
    }
}

impl AsyncRead for Members<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(member) = &mut self.current {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut *member).poll_read(context, buffer))?;
            let rest = *member.get_ref();
            if buffer.filled().len() > before || rest.iter().all(|byte| *byte == 0) {
                return Poll::Ready(Ok(()));
            }
            self.rest = rest;
        }
        self.begin()?;
        // A body may have many empty members: yield between them to let other requests proceed.
        context.waker().wake_by_ref();
        Poll::Pending
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
    fn a_single_known_coding_is_supported() {
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
