//! A client of the aggregator's HTTP API: its URLs, its requests, and their errors.

mod problem;
mod target;

use std::{error::Error, time::Duration};

use bytes::Bytes;
use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap},
};

pub use self::{
    problem::Problem,
    target::{Credentials, Target, TokenFile},
};
use crate::{command_line, tls};

/// Maximum time for a whole request whose response is read at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The flag that names whom to trust.
pub const CA_FLAG: &str = "--ca";

/// Maximum time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum time without receiving a byte. The aggregator is never silent for that long on an event stream.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a request has no usable response.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The aggregator cannot be reached or does not respond in time, or the response ended early.
    #[error("no answer from {endpoint}: {reason}")]
    Unreachable {
        /// The request's host, port and path.
        endpoint: String,
        /// Why, in the system's words.
        reason: String,
    },
    /// The connection cannot be encrypted, or the certificate is not trusted.
    #[error("no encrypted connection to {endpoint}: {reason}")]
    Untrusted {
        /// The request's host, port and path.
        endpoint: String,
        /// Why, and what to do about it.
        reason: String,
    },
    /// The aggregator responded with a problem document, which says what is wrong.
    #[error("{problem}")]
    Refused {
        /// The request's host, port and path.
        endpoint: String,
        /// The status of the response.
        status: StatusCode,
        /// The document.
        problem: Problem,
    },
    /// The status is that of a transient error, without a problem document, as from a proxy.
    #[error("{endpoint} responded with {status}")]
    Failed {
        /// The request's host, port and path.
        endpoint: String,
        /// The status of the response.
        status: StatusCode,
    },
    /// The response is not from an aggregator.
    #[error("{endpoint} responded with {found}: is this the aggregator's address?")]
    NotAnAggregator {
        /// The request's host, port and path.
        endpoint: String,
        /// What the response was.
        found: String,
    },
}

impl ApiError {
    /// The error for a response that no aggregator would send.
    pub fn not_an_aggregator(url: &Url, found: impl Into<String>) -> Self {
        Self::NotAnAggregator {
            endpoint: endpoint(url),
            found: found.into(),
        }
    }

    /// Whether a later request may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } | Self::Failed { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Untrusted { .. } | Self::NotAnAggregator { .. } => false,
        }
    }
}

impl From<reqwest::Error> for ApiError {
    fn from(err: reqwest::Error) -> Self {
        let endpoint = err.url().map_or("the aggregator".to_owned(), endpoint);
        let reason = describe(&err);
        if tls::advice(&err, CA_FLAG).is_some() {
            return Self::Untrusted { endpoint, reason };
        }
        Self::Unreachable { endpoint, reason }
    }
}

/// A client of one aggregator.
#[derive(Debug)]
pub struct Api {
    client: Client,
    base: Url,
}

impl Api {
    /// A client of this aggregator, which need not be running yet.
    ///
    /// # Errors
    /// If the HTTP client cannot be set up on this system.
    pub fn new(target: &Target) -> reqwest::Result<Self> {
        let authorization = target.authorization().cloned();
        let authorization = authorization.map(|value| (AUTHORIZATION, value));
        let client = target
            .client()
            .default_headers(HeaderMap::from_iter(authorization))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(IDLE_TIMEOUT)
            .build()?;
        let mut base = target.url().clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        base.set_query(None);
        base.set_fragment(None);
        Ok(Self { client, base })
    }

    /// The URL of `path` with the parameters of `query`.
    ///
    /// # Panics
    /// If `path` is not a path; all callers pass constants.
    #[must_use]
    pub fn url<N: AsRef<str>>(&self, path: &str, query: &[(N, &str)]) -> Url {
        let mut url = self.base.join(path).expect("the paths are constant");
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// A GET request, to be passed to [`answer`].
    pub fn get(&self, url: Url) -> RequestBuilder {
        self.client.get(url)
    }

    /// Sends a GET request and returns the whole body of the response, which must be short.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn read(&self, url: Url) -> Result<Bytes, ApiError> {
        let answer = answer(self.get(url).timeout(ANSWER_TIMEOUT)).await?;
        Ok(answer.bytes().await?)
    }
}

/// Sends a request and returns the response if it is successful. The body is still to be read; its total time is not
/// limited unless the request has a timeout.
///
/// # Errors
/// [`ApiError`].
pub async fn answer(request: RequestBuilder) -> Result<Response, ApiError> {
    let answer = request.send().await?;
    let (status, url) = (answer.status(), answer.url().clone());
    if status.is_success() {
        return Ok(answer);
    }
    let endpoint = endpoint(&url);
    match problem::read(answer).await {
        Some(problem) => Err(ApiError::Refused {
            endpoint,
            status,
            problem,
        }),
        None if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(ApiError::Failed { endpoint, status })
        }
        None => Err(ApiError::not_an_aggregator(&url, status.to_string())),
    }
}

/// Checks the media type of a response: a web page has a success status too.
///
/// # Errors
/// [`ApiError::NotAnAggregator`].
pub fn expect_media_type(answer: &Response, media_type: &str) -> Result<(), ApiError> {
    let found = answer.headers().get(CONTENT_TYPE);
    let found = found.and_then(|found| found.to_str().ok()).unwrap_or("");
    if found.contains(media_type) {
        return Ok(());
    }
    let found = format!("Content-Type {found:?} instead of {media_type}");
    Err(ApiError::not_an_aggregator(answer.url(), found))
}

/// Parses the aggregator's address. The scheme may be omitted, and so may the host if it is 127.0.0.1: `localhost:8080`,
/// `:8080` and `8080` are accepted.
///
/// # Errors
/// A message for the user, with an example.
pub fn parse_address(text: &str) -> Result<Url, String> {
    const EXAMPLE: &str = "such as http://127.0.0.1:8080";
    let port = text.strip_prefix(':').unwrap_or(text);
    let whole = if text.contains("://") {
        text.to_owned()
    } else if port.parse::<u16>().is_ok() {
        format!("http://127.0.0.1:{port}")
    } else {
        format!("http://{text}")
    };
    let url = Url::parse(&whole).map_err(|err| format!("{err}; must be an address, {EXAMPLE}"))?;
    // The text before the @ is then part of the path, and messages would repeat it.
    if text.contains('@') && url.username().is_empty() && url.password().is_none() {
        return Err(format!(
            "/ ? # in a user or password, and @ after the host, must be percent-encoded; must be an address, {EXAMPLE}"
        ));
    }
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(format!("must be an http:// or https:// address, {EXAMPLE}")),
    }
}

/// The innermost cause, which is the most specific, such as "Connection refused", and what to do about a certificate that is not
/// trusted.
#[must_use]
pub fn describe(err: &(dyn Error + 'static)) -> String {
    let mut cause = err;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let failure = command_line::failure(cause);
    match tls::advice(err, CA_FLAG) {
        Some(advice) => format!("{failure}; {advice}"),
        None => failure,
    }
}

/// The host, port and path of a URL, without the user, the password and the query.
fn endpoint(url: &Url) -> String {
    format!(
        "{}:{}{}",
        url.host_str().unwrap_or_default(),
        url.port_or_known_default().unwrap_or(80),
        url.path()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_neither_a_scheme_nor_a_host() {
        for (text, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("localhost:8080", "http://localhost:8080/"),
            ("aggregator", "http://aggregator/"),
            ("logs.example/below", "http://logs.example/below"),
            ("[::1]:8080", "http://[::1]:8080/"),
            ("8080", "http://127.0.0.1:8080/"),
            (":8080", "http://127.0.0.1:8080/"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("https://logs.example", "https://logs.example/"),
        ] {
            let url = parse_address(text).map(|url| url.to_string());
            assert_eq!(url.as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "a b",
            "http://",
            "127.0.0.1:99999",
            "nats://127.0.0.1:4222",
            "http://me/secret@logs",
            "http://me:1/secret@logs",
            "http://127.0.0.1:8080/?token=a@b",
        ] {
            let refused = parse_address(text).unwrap_err();
            assert!(
                refused.contains("http://127.0.0.1:8080"),
                "{text}: {refused}"
            );
            assert!(!refused.contains("relative URL"), "{text}: {refused}");
        }
    }
}
