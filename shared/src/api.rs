//! A client of the aggregator's HTTP API: its URLs, its requests, and their errors.

mod problem;

use std::{error::Error, time::Duration};

use bytes::Bytes;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, header::CONTENT_TYPE};
use shared::command_line;

use self::problem::Problem;

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
    Unreachable { endpoint: String, reason: String },
    /// The aggregator responded with a problem document, or the status is that of a transient error.
    #[error("{endpoint} responded with {status}{problem}")]
    Refused {
        endpoint: String,
        status: StatusCode,
        problem: Problem,
    },
    /// The response is not from an aggregator.
    #[error("{endpoint} responded with {found}: is this the aggregator's address?")]
    NotAnAggregator { endpoint: String, found: String },
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
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => {
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
    let refused = |problem| ApiError::Refused {
        endpoint: endpoint(&url),
        status,
        problem,
    };
    match problem::read(answer).await {
        Some(problem) => Err(refused(problem)),
        // An intermediary such as a proxy sends no problem document.
        None if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(refused(Problem::default()))
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

/// The innermost cause, which is the most specific, such as "Connection refused".
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
