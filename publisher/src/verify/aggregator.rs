//! Queries to the aggregator over HTTP: `GET /stats` and `GET /topics`.

use std::collections::HashMap;

use serde::{Deserialize, de::DeserializeOwned};
use shared::api::{Api, ApiError, Target};

use super::compare::Counts;

/// Topics per page.
const PAGE_LIMIT: &str = "1000";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A later request may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// A later request would fail too: the request is refused, as without a token, or the answer is not from an aggregator.
    #[error(transparent)]
    Final(ApiError),
}

impl From<ApiError> for QueryError {
    fn from(err: ApiError) -> Self {
        let is_transient = err.is_transient();
        match err {
            ApiError::Unreachable { reason, .. } => Self::Unavailable(reason),
            ApiError::Refused { status, .. } | ApiError::Failed { status, .. } if is_transient => {
                Self::Unavailable(format!("it responded with {status}"))
            }
            err => Self::Final(err),
        }
    }
}

/// The members of `GET /stats` that verification needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Stats {
    /// Events received.
    pub received: u64,
    /// Received events that were rejected.
    pub rejected: u64,
    /// Messages in the stream that are not applied yet; `None` while unknown.
    pub pending: Option<u64>,
}

#[derive(Deserialize)]
struct Topics {
    topics: Vec<TopicCounts>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct TopicCounts {
    topic: String,
    #[serde(flatten)]
    counts: Counts,
}

/// A client for one aggregator.
#[derive(Debug)]
pub struct Aggregator {
    api: Api,
}

impl Aggregator {
    /// A client of this aggregator, which need not be running yet.
    ///
    /// # Errors
    /// If the HTTP client cannot be set up on this system.
    pub fn new(target: &Target) -> reqwest::Result<Self> {
        Ok(Self {
            api: Api::new(target)?,
        })
    }

    /// The current stats.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn stats(&self) -> Result<Stats, QueryError> {
        self.get("stats", &[]).await
    }

    /// The counts of the selected topics.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn topics(
        &self,
        selection: &TopicSelection,
    ) -> Result<HashMap<String, Counts>, QueryError> {
        let mut found = HashMap::new();
        let mut cursor = selection.start();
        loop {
            let mut query = vec![("limit", PAGE_LIMIT)];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page: Topics = self.get("topics", &query).await?;
            let is_last = page
                .topics
                .last()
                .is_some_and(|last| selection.is_complete_at(&last.topic));
            let selected = page
                .topics
                .into_iter()
                .filter(|topic| selection.contains(&topic.topic));
            found.extend(selected.map(|topic| (topic.topic, topic.counts)));
            match page.next_cursor {
                // A cursor that does not advance would loop forever.
                Some(next) if !is_last && cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => return Ok(found),
            }
        }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, QueryError> {
        let url = self.api.url(path, query);
        let body = self.api.read(url.clone()).await?;
        serde_json::from_slice(&body).map_err(|err| {
            ApiError::not_an_aggregator(&url, format!("an unexpected body ({err})")).into()
        })
    }
}

/// The topics whose counts matter.
#[derive(Debug, Clone)]
pub enum TopicSelection {
    /// All topics with this prefix. They are adjacent in the order of names.
    Prefix(String),
    /// These topics, sorted by name.
    Names(Vec<String>),
}

impl TopicSelection {
    /// A name just before the first selected one, in byte order.
    fn start(&self) -> Option<String> {
        let first = match self {
            Self::Prefix(prefix) => Some(prefix),
            Self::Names(names) => names.first(),
        };
        let mut before = first?.clone();
        let last = before.pop()?;
        if let Some(previous) = ('\0'..last).next_back() {
            before.extend([previous, char::MAX]);
        }
        Some(before)
    }

    fn contains(&self, topic: &str) -> bool {
        match self {
            Self::Prefix(prefix) => topic.starts_with(prefix),
            Self::Names(names) => names
                .binary_search_by(|name| name.as_str().cmp(topic))
                .is_ok(),
        }
    }

    /// Whether no selected topic sorts after this name.
    fn is_complete_at(&self, topic: &str) -> bool {
        match self {
            Self::Prefix(prefix) => !topic.starts_with(prefix) && topic > prefix.as_str(),
            Self::Names(names) => names.last().is_none_or(|last| topic >= last.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Answers each request in turn, and returns the request targets.
    async fn aggregator(
        answers: Vec<(&'static str, String)>,
    ) -> (Aggregator, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut targets = Vec::new();
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(request).unwrap();
                targets.push(head.split(' ').nth(1).unwrap().to_owned());
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            targets
        });
        let target = Target::new(&url.parse().unwrap()).unwrap();
        (Aggregator::new(&target).unwrap(), server)
    }

    fn page(names: &[&str], next: &str) -> (&'static str, String) {
        let topic = |name: &&str| {
            format!(
                r#"{{"topic":"{name}","received":3,"unique_processed":2,"duplicate_dropped":1,"first_at":null}}"#
            )
        };
        let topics: Vec<_> = names.iter().map(topic).collect();
        (
            "200 OK",
            format!(
                r#"{{"topics":[{}],"total":9,"next_cursor":{next}}}"#,
                topics.join(",")
            ),
        )
    }

    fn names(found: HashMap<String, Counts>) -> Vec<String> {
        let mut names: Vec<_> = found.into_keys().collect();
        names.sort_unstable();
        names
    }

    #[tokio::test]
    async fn pages_are_requested_until_the_last_selected_topic() {
        let pages = vec![page(&["a", "b c"], r#""b c""#), page(&["d", "e"], r#""e""#)];
        let (aggregator, server) = aggregator(pages).await;
        let selection = TopicSelection::Names(vec!["b c".to_owned(), "d".to_owned()]);
        assert_eq!(
            names(aggregator.topics(&selection).await.unwrap()),
            ["b c", "d"]
        );
        assert_eq!(
            server.await.unwrap(),
            [
                "/topics?limit=1000&cursor=b+b%F4%8F%BF%BF",
                "/topics?limit=1000&cursor=b+c"
            ]
        );
    }

    #[tokio::test]
    async fn paging_of_a_prefix_starts_just_before_it() {
        let (aggregator, server) = aggregator(vec![page(&["p.1", "p.2"], "null")]).await;
        assert_eq!(
            names(
                aggregator
                    .topics(&TopicSelection::Prefix("p.".to_owned()))
                    .await
                    .unwrap()
            ),
            ["p.1", "p.2"]
        );
        assert_eq!(
            server.await.unwrap(),
            ["/topics?limit=1000&cursor=p-%F4%8F%BF%BF"]
        );
    }

    #[test]
    fn paging_starts_just_before_the_first_name() {
        let start =
            |first: &str| TopicSelection::Names(vec![first.to_owned(), "z".to_owned()]).start();
        for first in ["a", "ab", "é", "\u{e000}", "\u{1}", "\0", "a\0"] {
            let start = start(first).unwrap();
            assert!(start.as_str() < first, "{first:?}");
        }
        assert!(start("t500").unwrap().as_str() > "t499");
        assert_eq!(TopicSelection::Names(Vec::new()).start(), None);
    }

    #[tokio::test]
    async fn an_unavailable_aggregator_differs_from_another_server() {
        let answers = vec![
            ("503 Service Unavailable", String::new()),
            ("404 Not Found", String::new()),
            ("200 OK", "<html>".to_owned()),
            (
                "200 OK",
                r#"{"received":1,"rejected":0,"pending":null}"#.to_owned(),
            ),
        ];
        let (aggregator, server) = aggregator(answers).await;
        assert!(matches!(
            aggregator.stats().await,
            Err(QueryError::Unavailable(_))
        ));
        assert!(matches!(
            aggregator.stats().await,
            Err(QueryError::Final(_))
        ));
        assert!(matches!(
            aggregator.stats().await,
            Err(QueryError::Final(_))
        ));
        assert_eq!(aggregator.stats().await.unwrap().pending, None);
        server.await.unwrap();
        assert!(matches!(
            aggregator.stats().await,
            Err(QueryError::Unavailable(_))
        ));
    }
}
