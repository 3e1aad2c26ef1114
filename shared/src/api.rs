//! A client of the aggregator's HTTP API: its URLs, its requests, and their errors.

mod problem;

use std::{error::Error, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderValue},
};

pub use self::problem::Problem;
use crate::command_line;

/// Maximum time for a whole request whose response is read at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

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
            Self::NotAnAggregator { .. } => false,
        }
    }
}

impl From<reqwest::Error> for ApiError {
    fn from(err: reqwest::Error) -> Self {
        Self::Unreachable {
            endpoint: err.url().map_or("the aggregator".to_owned(), endpoint),
            reason: describe(&err),
        }
    }
}

/// A client of one aggregator.
#[derive(Debug)]
pub struct Api {
    client: Client,
    base: Url,
}

impl Api {
    /// A client of the aggregator at this address, which need not be running yet.
    ///
    /// # Errors
    /// If the HTTP client cannot be set up on this system.
    pub fn new(address: &Url) -> reqwest::Result<Self> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(IDLE_TIMEOUT)
            // Connect directly, even if the environment names a proxy.
            .no_proxy()
            .build()?;
        let mut base = address.clone();
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
        "http" => Ok(url),
        "https" => Err(format!(
            "the aggregator does not speak TLS; use an http:// address, {EXAMPLE}"
        )),
        _ => Err(format!("must be an http:// address, {EXAMPLE}")),
    }
}

/// The value of `Authorization` for the user and the password in an address, such as a token; `None` if it has neither.
///
/// # Panics
/// Never: Base64 is a valid value.
#[must_use]
pub fn authorization(address: &Url) -> Option<HeaderValue> {
    let (user, password) = (address.username(), address.password());
    if user.is_empty() && password.is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password.unwrap_or_default()));
    let value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(pair)));
    let mut value = value.expect("Base64 is a valid value");
    value.set_sensitive(true);
    Some(value)
}

/// The innermost cause, which is the most specific, such as "Connection refused".
#[must_use]
pub fn describe(err: &(dyn Error + 'static)) -> String {
    let mut cause = err;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    command_line::failure(cause)
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
        ] {
            let url = parse_address(text).map(|url| url.to_string());
            assert_eq!(url.as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "a b",
            "http://",
            "127.0.0.1:99999",
            "https://127.0.0.1:8080",
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
