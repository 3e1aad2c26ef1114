//! Measures the time from `POST /publish` until an event is visible in `GET /events`, one event at a time.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures::future::try_join;
use hdrhistogram::Histogram;
use indicatif::HumanCount;
use serde::{Deserialize, Serialize};
use shared::{api::Target, event::Event};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    flow::http::{Answer, Client, ClientError},
    progress::rate,
    send_stats::{latencies, record},
    summary::Percentiles,
    traffic::Generator,
};

/// Maximum pause before an event. Pauses are random, so that events are not in step with the aggregator's batches.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// If an event is not visible after this time, the measurement fails.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long polling continues without pauses. After that it pauses between requests, because polling also costs the
/// aggregator time.
const POLL_WITHOUT_PAUSE: Duration = Duration::from_millis(100);
const POLL_PAUSE: Duration = Duration::from_millis(5);

/// Why the latency of an event cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The aggregator cannot be reached or does not answer.
    #[error("cannot reach the aggregator: {0}")]
    Unreachable(String),
    /// The aggregator answered with a status other than 2xx or with an unexpected body.
    #[error("the aggregator responded to {path} with {answer}")]
    Refused { path: String, answer: String },
    /// The event did not become visible in time.
    #[error("event {0:?} was published but is not visible after {s} s", s = VISIBLE_TIMEOUT.as_secs())]
    NotVisible(String),
}

/// The summary of the measurements. Its field names are a contract with the programs that read it.
#[derive(Debug, Serialize)]
pub struct LatencySummary {
    /// Number of events measured.
    pub samples: u64,
    /// Time from sending the request to its answer, which follows the `PubAck`.
    pub answer_ms: Percentiles,
    /// Time from sending the request until the event was visible.
    pub visible_ms: Percentiles,
    /// Background traffic: accepted events per second.
    pub background_events_per_second: f64,
}

/// Measures the latency of events.
#[derive(Debug)]
pub struct Probe {
    publish_client: Client,
    query_client: Client,
    answer_us: Histogram<u64>,
    visible_us: Histogram<u64>,
}

#[derive(Deserialize)]
struct EventsPage {
    events: Vec<PageEvent>,
}

#[derive(Deserialize)]
struct PageEvent {
    event_id: String,
}

impl Probe {
    /// A probe of this aggregator.
    #[must_use]
    pub fn new(target: &Target) -> Self {
        Self {
            publish_client: Client::new(target),
            query_client: Client::new(target),
            answer_us: latencies(),
            visible_us: latencies(),
        }
    }

    /// Measures one event after another, until there are no more or `stop` is cancelled.
    ///
    /// # Errors
    /// If an event cannot be measured.
    pub async fn run(
        &mut self,
        mut events: Generator<'_>,
        stop: &CancellationToken,
    ) -> Result<(), ProbeError> {
        while let Some(sample) = events.take(1).pop() {
            let pause = sleep(LONGEST_PAUSE.mul_f64(rand::random()));
            if stop.run_until_cancelled(pause).await.is_none() {
                break;
            }
            self.sample(sample.json).await?;
        }
        Ok(())
    }

    /// The measurements so far, made under background traffic at this rate.
    #[must_use]
    pub fn summary(&self, background_events_per_second: f64) -> LatencySummary {
        LatencySummary {
            samples: self.visible_us.len(),
            answer_ms: Percentiles::of(&self.answer_us),
            visible_ms: Percentiles::of(&self.visible_us),
            background_events_per_second,
        }
    }

    async fn sample(&mut self, json: Bytes) -> Result<(), ProbeError> {
        let event = Event::parse(&json).expect("generated events are valid");
        let start = Instant::now();
        let answered = async {
            success_body("/publish", self.publish_client.post("/publish", json).await)?;
            Ok(start.elapsed())
        };
        let seen = until_visible(&mut self.query_client, &event, start);
        let (answered, seen) = try_join(answered, seen).await?;
        record(&mut self.answer_us, answered);
        record(&mut self.visible_us, seen);
        Ok(())
    }
}

/// Polls until the event is the newest of its topic; returns the time since `start`.
async fn until_visible(
    query_client: &mut Client,
    event: &Event,
    start: Instant,
) -> Result<Duration, ProbeError> {
    let id = event.event_id.as_str();
    // Generated topics have no characters that need encoding.
    let path = format!("/events?topic={}&limit=1", event.topic);
    loop {
        let body = success_body(&path, query_client.get(&path).await)?;
        let took = start.elapsed();
        let page: EventsPage =
            serde_json::from_slice(&body).map_err(|err| ProbeError::Refused {
                path: path.clone(),
                answer: format!("an unexpected body ({err})"),
            })?;
        if page.events.first().is_some_and(|seen| seen.event_id == id) {
            return Ok(took);
        }
        if took > VISIBLE_TIMEOUT {
            return Err(ProbeError::NotVisible(id.to_owned()));
        }
        if took > POLL_WITHOUT_PAUSE {
            sleep(POLL_PAUSE).await;
        }
    }
}

fn success_body(path: &str, result: Result<Answer, ClientError>) -> Result<Bytes, ProbeError> {
    match result {
        Ok(Answer { status, body }) if status.is_success() => Ok(body),
        Ok(Answer { status, .. }) => Err(ProbeError::Refused {
            path: path.to_owned(),
            answer: status.to_string(),
        }),
        Err(
            ClientError::Unsent(reason)
            | ClientError::Unanswered(reason)
            | ClientError::Untrusted(reason),
        ) => Err(ProbeError::Unreachable(reason)),
    }
}

impl fmt::Display for LatencySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            samples,
            answer_ms,
            visible_ms,
            background_events_per_second,
        } = self;
        write!(
            f,
            "{} events with {} in the background: answered after {answer_ms}; visible after {visible_ms}",
            HumanCount(*samples),
            rate(*background_events_per_second)
        )
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::traffic::{Recipe, Share, Traffic};

    async fn request(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    async fn answer(stream: &mut TcpStream, body: &str) {
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn it_polls_until_the_event_is_the_newest_of_its_topic() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            for id in [
                "",
                r#"{"event_id":"r-0"}"#,
                r#"{"event_id":"r-1"},{"event_id":"r-0"}"#,
            ] {
                let head = request(&mut stream).await;
                assert!(
                    head.starts_with("GET /events?topic=demo.r.t00&limit=1 "),
                    "{head}"
                );
                answer(&mut stream, &format!(r#"{{"events":[{id}],"total":1}}"#)).await;
            }
        };
        let traffic = Traffic::new(&Recipe {
            seed: 0,
            run_id: "r".to_owned(),
            topics: 1,
            share: Share::NONE,
            payload_bytes: 80,
        });
        let event = Generator::new(&traffic, None).take(2).pop().unwrap();
        let event = Event::parse(&event.json).unwrap();
        let target = Target::new(&url.parse().unwrap()).unwrap();
        let mut query_client = Client::new(&target);
        let polling = until_visible(&mut query_client, &event, Instant::now());
        let (seen, ()) = tokio::join!(polling, server);
        assert!(seen.is_ok(), "{seen:?}");
    }

    #[test]
    fn the_median_and_the_99th_percentile_are_reported() {
        let target = Target::new(&"http://127.0.0.1".parse().unwrap()).unwrap();
        let mut probe = Probe::new(&target);
        for ms in 1..=100 {
            record(&mut probe.visible_us, Duration::from_millis(ms));
        }
        let json = serde_json::to_value(probe.summary(1_000.0)).unwrap();
        assert_eq!(json["samples"], 100);
        let (p50, p99) = (&json["visible_ms"]["p50"], &json["visible_ms"]["p99"]);
        assert!((50.0..50.1).contains(&p50.as_f64().unwrap()), "{p50}");
        assert!((99.0..99.1).contains(&p99.as_f64().unwrap()), "{p99}");
    }
}
