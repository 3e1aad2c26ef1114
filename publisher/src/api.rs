//! A client of the aggregator's HTTP API: its URLs, its requests, and their errors.

mod problem;

use std::{error::Error, time::Duration};

use bytes::Bytes;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, header::CONTENT_TYPE};

use self::problem::Problem;

/// Maximum time for an answer that is read as a whole.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum time without a byte of the answer. The aggregator is never silent for that long on an event stream.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why there is no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The aggregator cannot be reached, or the answer ended early.
    #[error("no answer from {endpoint}: {reason}")]
    Unreachable { endpoint: String, reason: String },
    /// The aggregator refused the request and said why, or answered with an error that is transient.
    #[error("{endpoint} responded with {status}{problem}")]
    Refused {
        endpoint: String,
        status: StatusCode,
        problem: Problem,
    },
    /// The answer is not from an aggregator.
    #[error("{endpoint} responded with {found}: is this the aggregator's address?")]
    NotAnAggregator { endpoint: String, found: String },
}

impl ApiError {
    /// The error for an answer that no aggregator gives.
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

    /// A request, to be passed to [`answer`].
    pub fn get(&self, url: Url) -> RequestBuilder {
        self.client.get(url)
    }

    /// The whole body of a short answer.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn read(&self, url: Url) -> Result<Bytes, ApiError> {
        let answer = answer(self.get(url).timeout(ANSWER_TIMEOUT)).await?;
        Ok(answer.bytes().await?)
    }
}

/// Sends a request and returns the successful answer, whose body is still to be read, with no limit on the total time.
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

/// Checks the media type of the answer: a web page is successful too.
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

/// The innermost cause, which is the most specific: "Connection refused".
pub fn describe(err: &dyn Error) -> String {
    let mut cause = err;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Host, port and path of a URL: neither the password nor the query.
fn endpoint(url: &Url) -> String {
    format!(
        "{}:{}{}",
        url.host_str().unwrap_or_default(),
        url.port_or_known_default().unwrap_or(80),
        url.path()
    )
}
