//! Questions to the aggregator, over HTTP.

use std::collections::HashMap;

use reqwest::Url;
use serde::{Deserialize, de::DeserializeOwned};

use super::compare::Counts;
use crate::api::{Api, ApiError};

/// Topics asked for at once.
const PAGE: &str = "1000";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It may answer later.
    #[error("{0}")]
    Away(String),
    /// It answers, but as no aggregator does.
    #[error("{url} answers {found}: is this the aggregator's address?")]
    Foreign {
        /// What was asked.
        url: String,
        /// What came back.
        found: String,
    },
}

impl From<ApiError> for AskError {
    fn from(err: ApiError) -> Self {
        let is_passing = err.is_passing();
        match err {
            ApiError::Away { reason, .. } => Self::Away(reason),
            ApiError::Refused { status, .. } if is_passing => {
                Self::Away(format!("it answers {status}"))
            }
            ApiError::Refused { place, status, .. } => Self::Foreign {
                url: place,
                found: status.to_string(),
            },
            ApiError::Foreign { place, found } => Self::Foreign { url: place, found },
        }
    }
}

/// What `/stats` says, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Stats {
    /// Events that arrived.
    pub received: u64,
    /// Those of them that could not be stored as events.
    pub rejected: u64,
    /// Messages in the stream that are not applied yet; none while that is not known.
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

/// An aggregator.
#[derive(Debug)]
pub struct Aggregator {
    api: Api,
}

impl Aggregator {
    /// The one at this address, which need not be there yet.
    ///
    /// # Errors
    /// Where the system lacks what HTTP needs.
    pub fn new(address: &Url) -> reqwest::Result<Self> {
        Ok(Self {
            api: Api::new(address)?,
        })
    }

    /// How far it is.
    ///
    /// # Errors
    /// As [`AskError`] tells.
    pub async fn stats(&self) -> Result<Stats, AskError> {
        self.get("stats", &[]).await
    }

    /// The counts of those topics that `wanted` names.
    ///
    /// # Errors
    /// As [`AskError`] tells.
    pub async fn topics(&self, wanted: &Wanted) -> Result<HashMap<String, Counts>, AskError> {
        let mut found = HashMap::new();
        let mut cursor = wanted.start();
        loop {
            let mut query = vec![("limit", PAGE)];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page: Topics = self.get("topics", &query).await?;
            let is_last = page
                .topics
                .last()
                .is_some_and(|last| wanted.is_behind(&last.topic));
            let named = page
                .topics
                .into_iter()
                .filter(|topic| wanted.names(&topic.topic));
            found.extend(named.map(|topic| (topic.topic, topic.counts)));
            match page.next_cursor {
                // A cursor that does not move would be asked for for ever.
                Some(next) if !is_last && cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => return Ok(found),
            }
        }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, AskError> {
        let url = self.api.url(path, query);
        let body = self.api.read(url.clone()).await?;
        serde_json::from_slice(&body).map_err(|err| {
            ApiError::foreign(&url, format!("something else than expected ({err})")).into()
        })
    }
}

/// The topics whose counts matter.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// All whose names begin so. In the order of names they are neighbours.
    Prefix(String),
    /// These, in the order of names.
    Names(Vec<String>),
}

impl Wanted {
    /// A name just before all that are wanted, in the order of their bytes.
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

    fn names(&self, topic: &str) -> bool {
        match self {
            Self::Prefix(prefix) => topic.starts_with(prefix),
            Self::Names(names) => names
                .binary_search_by(|name| name.as_str().cmp(topic))
                .is_ok(),
        }
    }

    /// Whether all that are wanted come before this name.
    fn is_behind(&self, topic: &str) -> bool {
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

    /// Answers each request in turn, and returns what was asked.
    async fn aggregator(
        answers: Vec<(&'static str, String)>,
    ) -> (Aggregator, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut asked = Vec::new();
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(request).unwrap();
                asked.push(head.split(' ').nth(1).unwrap().to_owned());
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        (Aggregator::new(&Url::parse(&url).unwrap()).unwrap(), server)
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
    async fn pages_are_asked_for_until_the_last_that_matters() {
        let pages = vec![page(&["a", "b c"], r#""b c""#), page(&["d", "e"], r#""e""#)];
        let (aggregator, server) = aggregator(pages).await;
        let wanted = Wanted::Names(vec!["b c".to_owned(), "d".to_owned()]);
        assert_eq!(
            names(aggregator.topics(&wanted).await.unwrap()),
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
    async fn topics_with_a_prefix_are_asked_for_from_there() {
        let (aggregator, server) = aggregator(vec![page(&["p.1", "p.2"], "null")]).await;
        assert_eq!(
            names(
                aggregator
                    .topics(&Wanted::Prefix("p.".to_owned()))
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
        let start = |first: &str| Wanted::Names(vec![first.to_owned(), "z".to_owned()]).start();
        for first in ["a", "ab", "é", "\u{e000}", "\u{1}", "\0", "a\0"] {
            let start = start(first).unwrap();
            assert!(start.as_str() < first, "{first:?}");
        }
        assert!(start("t500").unwrap().as_str() > "t499");
        assert_eq!(Wanted::Names(Vec::new()).start(), None);
    }

    #[tokio::test]
    async fn who_is_away_is_told_from_who_is_no_aggregator() {
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
        assert!(matches!(aggregator.stats().await, Err(AskError::Away(_))));
        assert!(matches!(
            aggregator.stats().await,
            Err(AskError::Foreign { .. })
        ));
        assert!(matches!(
            aggregator.stats().await,
            Err(AskError::Foreign { .. })
        ));
        assert_eq!(aggregator.stats().await.unwrap().pending, None);
        server.await.unwrap();
        assert!(matches!(aggregator.stats().await, Err(AskError::Away(_))));
    }
}
