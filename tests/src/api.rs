//! A client of the aggregator's HTTP API.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use reqwest::{Client, ClientBuilder, RequestBuilder, header::HeaderMap};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    books::{Books, Stats, TopicCounts},
    event::{Event, array},
    wait::{DEADLINE, eventually, holds, within},
};

/// Longer than the aggregator takes to respond to any request.
const TIMEOUT: Duration = Duration::from_secs(40);

/// The content type of a JSON body.
const JSON: &str = "application/json";

/// An aggregator's API.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    client: Client,
    token: Option<String>,
}

/// A complete response.
#[derive(Debug)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("an answer is text")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        self.parsed()
    }

    /// The body as JSON of this type.
    pub fn parsed<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|err| panic!("{err} in the answer {}", self.text()))
    }

    /// The value of a header, or the empty string if it is absent.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("a header is text"))
    }
}

impl Api {
    /// The API at an address like `http://127.0.0.1:8080`.
    pub fn new(base: &str) -> Self {
        let client = client(base).build();
        Self {
            base: base.to_owned(),
            client: client.expect("an HTTP client can be created"),
            token: None,
        }
    }

    /// The same API, with this token in every request.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        let value = format!("Bearer {token}")
            .parse()
            .expect("a token is a header");
        let headers = HeaderMap::from_iter([(reqwest::header::AUTHORIZATION, value)]);
        let client = client(&self.base).default_headers(headers).build();
        Self {
            base: self.base.clone(),
            client: client.expect("an HTTP client can be created"),
            token: Some(token.to_owned()),
        }
    }

    /// The token that its requests have.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Its host and port.
    pub fn address(&self) -> String {
        let (_, address) = self.base.split_once("://").expect("an address");
        address.to_owned()
    }

    /// Sends a GET request; the path may include a query.
    ///
    /// # Errors
    /// If there is no response; [`eventually`] tries again.
    pub async fn get(&self, path: &str) -> Result<Answer, String> {
        let request = self.client.get(format!("{}{path}", self.base));
        answer(request).await
    }

    /// Sends a GET request with these query parameters, which are percent-encoded here.
    pub async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Answer {
        let request = self.client.get(format!("{}{path}", self.base));
        answer(request.query(query)).await.expect("an answer")
    }

    /// Like [`Self::ask`], with this media type in `Accept`.
    pub async fn ask_for(&self, kind: &str, path: &str, query: &[(&str, &str)]) -> Answer {
        let request = self.client.get(format!("{}{path}", self.base));
        let request = request.query(query).header("accept", kind);
        answer(request).await.expect("an answer")
    }

    /// Sends a request with any method and no body.
    pub async fn request(&self, method: &str, path: &str) -> Answer {
        let method = method.parse().expect("a method");
        let request = self.client.request(method, format!("{}{path}", self.base));
        answer(request).await.expect("an answer")
    }

    /// Sends a body to any path, as JSON.
    pub async fn post_to(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.post_with(path, &[("content-type", JSON)], body).await
    }

    /// Sends a body with these headers to any path.
    pub async fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = self.client.post(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.body(body.into())).await.expect("an answer")
    }

    /// Sends a body to `/publish`, as JSON.
    pub async fn post(&self, body: impl Into<Bytes>) -> Answer {
        self.post_as(Some(JSON), body).await
    }

    /// Sends a body to `/publish` with any `Content-Type`, or without one.
    pub async fn post_as(&self, content_type: Option<&str>, body: impl Into<Bytes>) -> Answer {
        let mut request = self.client.post(format!("{}/publish", self.base));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        answer(request.body(body.into())).await.expect("an answer")
    }

    /// Publishes events in one request, which must be accepted.
    pub async fn publish(&self, events: &[Event]) {
        let answer = self.post(array(events)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["received"], events.len());
    }

    /// Publishes events in one request that is answered when they are stored.
    pub async fn store(&self, events: &[Event]) -> Answer {
        // The longest wait allowed, because the machine may be busy.
        let path = "/publish?wait=stored&wait_ms=30000";
        self.post_to(path, array(events)).await
    }

    /// Publishes events in one request, which may be refused.
    ///
    /// # Errors
    /// The body of the response if its status is not 200, or why there is no response.
    pub async fn try_publish(&self, events: &[Event]) -> Result<(), String> {
        let request = self.client.post(format!("{}/publish", self.base));
        let request = request.header("content-type", JSON).body(array(events));
        let answer = answer(request).await?;
        holds(answer.status == 200, answer.text())
    }

    /// The newest events of a topic, at most 1,000.
    pub async fn events_of(&self, topic: &str) -> Answer {
        let query = [("topic", topic), ("limit", "1000")];
        let answer = self.ask("/events", &query).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    /// The counters.
    ///
    /// # Errors
    /// If there is no response or its status is not 200; [`eventually`] tries again.
    pub async fn stats(&self) -> Result<Stats, String> {
        let answer = self.get("/stats").await?;
        holds(answer.status == 200, answer.text())?;
        Ok(answer.parsed())
    }

    /// The counts of all topics, from all pages.
    pub async fn topics(&self) -> BTreeMap<String, TopicCounts> {
        let mut topics = BTreeMap::new();
        let mut cursor = None::<String>;
        loop {
            let mut query = vec![("limit", "1000")];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = self.ask("/topics", &query).await;
            assert_eq!(page.status, 200, "{}", page.text());
            for counts in page.json()["topics"].as_array().expect("a list") {
                let counts: TopicCounts =
                    serde_json::from_value(counts.clone()).expect("a topic's counts");
                let before = topics.insert(counts.topic.clone(), counts);
                assert_eq!(before, None, "a topic is listed once");
            }
            match page.json()["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return topics,
            }
        }
    }

    /// Waits until everything in the stream is applied, and returns the books, which must balance.
    pub async fn settled(&self) -> Books {
        self.settled_within(DEADLINE).await
    }

    /// Like [`Self::settled`], for a large backlog.
    pub async fn settled_within(&self, deadline: Duration) -> Books {
        within(deadline, "all is applied", async || {
            let stats = self.stats().await?;
            holds(stats.pending == Some(0), &stats)
        })
        .await;
        let books = Books {
            stats: self.stats().await.expect("it answered just now"),
            topics: self.topics().await,
        };
        books.check();
        books
    }

    /// Waits until at least this many events have been counted.
    pub async fn received_at_least(&self, count: u64) {
        let what = format!("{count} events are counted");
        eventually(&what, async || {
            let stats = self.stats().await?;
            holds(stats.received >= count, &stats)
        })
        .await;
    }
}

/// Certificates are checked by the tests that are about them.
fn client(base: &str) -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        .danger_accept_invalid_certs(base.starts_with("https:"))
}

async fn answer(request: RequestBuilder) -> Result<Answer, String> {
    let answer = request.send().await.map_err(|err| format!("{err:?}"))?;
    Ok(Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.bytes().await.map_err(|err| format!("{err:?}"))?,
    })
}
