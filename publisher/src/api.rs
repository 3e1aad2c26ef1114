//! The aggregator's HTTP API as its clients see it: where it is, how it is asked, and why it does not answer.

mod problem;

use std::{error::Error, time::Duration};

use bytes::Bytes;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, header::CONTENT_TYPE};

use self::problem::Problem;

/// Longest time for an answer that is read as a whole.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest time in which nothing comes of an answer. Longer than the aggregator is silent on a stream of events.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why there is no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It cannot be reached, or the answer broke off.
    #[error("no answer from {place}: {reason}")]
    Away { place: String, reason: String },
    /// It says why it does not do it, or at least that it cannot now.
    #[error("{place} answers {status}{problem}")]
    Refused {
        place: String,
        status: StatusCode,
        problem: Problem,
    },
    /// It answers, but as no aggregator does.
    #[error("{place} answers {found}: is this the aggregator's address?")]
    Foreign { place: String, found: String },
}

impl ApiError {
    /// An answer that is none of an aggregator.
    pub fn foreign(url: &Url, found: impl Into<String>) -> Self {
        Self::Foreign {
            place: place(url),
            found: found.into(),
        }
    }

    /// Whether it may answer when it is asked again later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Away { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Foreign { .. } => false,
        }
    }
}

impl From<reqwest::Error> for ApiError {
    fn from(err: reqwest::Error) -> Self {
        Self::Away {
            place: err.url().map_or("the aggregator".to_owned(), place),
            reason: describe(&err),
        }
    }
}

/// An aggregator's API.
#[derive(Debug)]
pub struct Api {
    client: Client,
    base: Url,
}

impl Api {
    /// The one at this address, which need not be there yet.
    ///
    /// # Errors
    /// Where the system lacks what HTTP needs.
    pub fn new(address: &Url) -> reqwest::Result<Self> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(IDLE_TIMEOUT)
            // It is asked directly, whatever the environment says of proxies.
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

    /// The address of what is at `path`, asked with `query`.
    pub fn url<N: AsRef<str>>(&self, path: &str, query: &[(N, &str)]) -> Url {
        let mut url = self.base.join(path).expect("the paths are constant");
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// A question, to be given to [`answer`].
    pub fn get(&self, url: Url) -> RequestBuilder {
        self.client.get(url)
    }

    /// The whole body of an answer that is short and comes soon.
    ///
    /// # Errors
    /// As [`ApiError`] tells.
    pub async fn read(&self, url: Url) -> Result<Bytes, ApiError> {
        let answer = answer(self.get(url).timeout(ANSWER_TIMEOUT)).await?;
        Ok(answer.bytes().await?)
    }
}

/// Asks, and waits for an answer of success, whose body is still to be read. Its length has no limit in time.
///
/// # Errors
/// As [`ApiError`] tells.
pub async fn answer(question: RequestBuilder) -> Result<Response, ApiError> {
    let answer = question.send().await?;
    let (status, url) = (answer.status(), answer.url().clone());
    if status.is_success() {
        return Ok(answer);
    }
    let refused = |problem| ApiError::Refused {
        place: place(&url),
        status,
        problem,
    };
    match problem::read(answer).await {
        Some(problem) => Err(refused(problem)),
        // Whatever stands between, such as a proxy, says so in words of its own.
        None if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(refused(Problem::default()))
        }
        None => Err(ApiError::foreign(&url, status.to_string())),
    }
}

/// Checks that the answer is of the kind that was asked for: a web page has success too.
///
/// # Errors
/// [`ApiError::Foreign`].
pub fn expect_kind(answer: &Response, kind: &str) -> Result<(), ApiError> {
    let found = answer.headers().get(CONTENT_TYPE);
    let found = found.and_then(|found| found.to_str().ok()).unwrap_or("");
    if found.contains(kind) {
        return Ok(());
    }
    let found = format!("with Content-Type {found:?} instead of {kind}");
    Err(ApiError::foreign(answer.url(), found))
}

/// The innermost cause, which says most: "Connection refused".
pub fn describe(err: &dyn Error) -> String {
    let mut cause = err;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Host, port and path: neither a password nor the question.
fn place(url: &Url) -> String {
    format!(
        "{}:{}{}",
        url.host_str().unwrap_or_default(),
        url.port_or_known_default().unwrap_or(80),
        url.path()
    )
}
