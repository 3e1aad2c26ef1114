//! The time from `POST /publish` until an event is there in `GET /events`: of one event after the other.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures::future::try_join;
use hdrhistogram::Histogram;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use shared::event::Event;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    flow::http::{Answer, Client, Failed},
    sent::{latencies, record},
    summary::Percentiles,
    traffic::Generator,
};

/// Longest pause before an event. Each is drawn anew, so that events do not keep step with the aggregator's batches.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// An event that cannot be seen after this time is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// It is asked again at once so long, and then with pauses, for asking costs the aggregator time as well.
const ASK_AT_ONCE: Duration = Duration::from_millis(100);
const ASK_PAUSE: Duration = Duration::from_millis(5);

/// Why an event's time cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It is away, or is no aggregator.
    #[error("cannot ask the aggregator: {0}")]
    Away(String),
    /// It answers otherwise than with success.
    #[error("the aggregator answers {path} with {answer}")]
    Refused { path: String, answer: String },
    /// It took too long.
    #[error("event {0:?} was published and cannot be seen after {s} s", s = PATIENCE.as_secs())]
    Unseen(String),
}

/// What was measured. Its field names are a contract with the programs that read it.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// Events whose time was taken.
    pub samples: u64,
    /// From sending the request until its answer, which comes after the `PubAck`.
    pub answer_ms: Percentiles,
    /// From sending the request until the event was there.
    pub visible_ms: Percentiles,
    /// Events a second beside them, as they were accepted.
    pub background_events_per_second: f64,
}

/// Takes the times.
#[derive(Debug)]
pub struct Probe {
    poster: Client,
    asker: Client,
    answer_us: Histogram<u64>,
    visible_us: Histogram<u64>,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Seen>,
}

#[derive(Deserialize)]
struct Seen {
    event_id: String,
}

impl Probe {
    /// Of the aggregator at this address.
    #[must_use]
    pub fn new(url: &Url) -> Self {
        Self {
            poster: Client::new(url),
            asker: Client::new(url),
            answer_us: latencies(),
            visible_us: latencies(),
        }
    }

    /// Takes the time of each event, or of those until it is stopped.
    ///
    /// # Errors
    /// Where one of them cannot be told.
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

    /// What was measured, beside traffic of this rate.
    #[must_use]
    pub fn measured(&self, background_events_per_second: f64) -> Measured {
        Measured {
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
            succeeded("/publish", self.poster.post("/publish", json).await)?;
            Ok(start.elapsed())
        };
        let seen = until_seen(&mut self.asker, &event, start);
        let (answered, seen) = try_join(answered, seen).await?;
        record(&mut self.answer_us, answered);
        record(&mut self.visible_us, seen);
        Ok(())
    }
}

/// Asks until the event is the newest of its topic; returns the time since `start`.
async fn until_seen(
    asker: &mut Client,
    event: &Event,
    start: Instant,
) -> Result<Duration, ProbeError> {
    let id = event.event_id.as_str();
    // Generated topics have no character that would have to be encoded.
    let path = format!("/events?topic={}&limit=1", event.topic);
    loop {
        let body = succeeded(&path, asker.get(&path).await)?;
        let took = start.elapsed();
        let page: Page = serde_json::from_slice(&body).map_err(|err| ProbeError::Refused {
            path: path.clone(),
            answer: format!("something else than expected ({err})"),
        })?;
        if page.events.first().is_some_and(|seen| seen.event_id == id) {
            return Ok(took);
        }
        if took > PATIENCE {
            return Err(ProbeError::Unseen(id.to_owned()));
        }
        if took > ASK_AT_ONCE {
            sleep(ASK_PAUSE).await;
        }
    }
}

fn succeeded(path: &str, answered: Result<Answer, Failed>) -> Result<Bytes, ProbeError> {
    match answered {
        Ok(Answer { status, body }) if status.is_success() => Ok(body),
        Ok(Answer { status, .. }) => Err(ProbeError::Refused {
            path: path.to_owned(),
            answer: status.to_string(),
        }),
        Err(Failed::Unsent(reason) | Failed::Unanswered(reason)) => Err(ProbeError::Away(reason)),
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            samples,
            answer_ms,
            visible_ms,
            background_events_per_second,
        } = self;
        write!(
            f,
            "{samples} events beside {background_events_per_second:.0} events/s: answered after {answer_ms}; visible \
             after {visible_ms}"
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
    async fn it_is_asked_until_the_event_is_the_newest_of_its_topic() {
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
        let mut asker = Client::new(&Url::parse(&url).unwrap());
        let asking = until_seen(&mut asker, &event, Instant::now());
        let (seen, ()) = tokio::join!(asking, server);
        assert!(seen.is_ok(), "{seen:?}");
    }

    #[test]
    fn half_and_nearly_all_are_told() {
        let mut probe = Probe::new(&Url::parse("http://127.0.0.1").unwrap());
        for ms in 1..=100 {
            record(&mut probe.visible_us, Duration::from_millis(ms));
        }
        let json = serde_json::to_value(probe.measured(1_000.0)).unwrap();
        assert_eq!(json["samples"], 100);
        let (p50, p99) = (&json["visible_ms"]["p50"], &json["visible_ms"]["p99"]);
        assert!((50.0..50.1).contains(&p50.as_f64().unwrap()), "{p50}");
        assert!((99.0..99.1).contains(&p99.as_f64().unwrap()), "{p99}");
    }
}
