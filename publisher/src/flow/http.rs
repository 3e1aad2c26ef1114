//! The flow of generated events through `POST /publish`: over a fixed number of connections, each with one request
//! under way, until every request is answered.
//!
//! All of it runs as one task: it is to load the aggregator, not the machine.

mod client;
mod request;

use std::{cell::RefCell, time::Duration};

use futures::{TryStreamExt, stream::FuturesUnordered};
use hyper::StatusCode;
use reqwest::Url;
use tokio::{
    sync::Mutex,
    time::{Instant, interval, sleep},
};
use tokio_util::sync::CancellationToken;

pub use self::client::{Answer, Client, Failed};
use self::request::{Intake, Request};
use super::{SHOW_EVERY, STOP_DEADLINE, pace::Rate};
use crate::{
    progress::{Moment, Progress},
    sent::Sent,
    traffic::Generator,
};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why the flow ended early.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The aggregator will not take it.
    #[error("the aggregator answers {status}: {body}")]
    Refused { status: StatusCode, body: String },
    /// The flow was stopped and the aggregator did not answer in time.
    #[error("stopped while requests wait for their answers")]
    Unanswered,
}

/// What the flow needs beside its events.
#[derive(Debug)]
pub struct HttpFlow<'a> {
    /// The aggregator.
    pub url: &'a Url,
    /// How many topics events may have.
    pub topics: usize,
    pub connections: usize,
    /// Most events in one request.
    pub events_per_request: usize,
    /// Events a second.
    pub rate: Rate,
    /// Ends the flow.
    pub stop: &'a CancellationToken,
}

/// What all connections share.
struct Shared<'a> {
    /// Whoever waits until events are due holds it, and the others wait behind.
    intake: Mutex<Intake<'a>>,
    sent: RefCell<Sent>,
    /// Why a request is being tried again; cleared by the next success.
    obstacle: RefCell<Option<String>>,
}

impl HttpFlow<'_> {
    /// Sends all events, or those until the flow is stopped or fails. Returns what was sent in any case, and why it
    /// failed, if it did: then it is not complete.
    pub async fn run(
        &self,
        generator: Generator<'_>,
        mut progress: Progress,
    ) -> (Sent, Result<(), HttpError>) {
        let shared = Shared {
            intake: Mutex::new(Intake::new(generator, self.rate, self.events_per_request)),
            sent: RefCell::new(Sent::nothing(self.topics)),
            obstacle: RefCell::new(None),
        };
        let connections: FuturesUnordered<_> = (0..self.connections)
            .map(|_| self.connection(&shared))
            .collect();
        let show = async {
            let mut show = interval(SHOW_EVERY);
            loop {
                let now = show.tick().await;
                let moment = Moment {
                    sent: shared.sent.borrow().total().sent,
                    obstacle: shared.obstacle.borrow().clone(),
                };
                progress.show(moment, now);
            }
        };
        let too_late = async {
            self.stop.cancelled().await;
            sleep(STOP_DEADLINE).await;
        };
        let ended = tokio::select! {
            ended = connections.try_collect::<()>() => ended,
            () = too_late => Err(HttpError::Unanswered),
            () = show => Ok(()),
        };
        let Shared { intake, sent, .. } = shared;
        let mut sent = sent.into_inner();
        sent.complete = ended.is_ok() && intake.into_inner().is_at_end();
        (sent, ended)
    }

    /// One connection: request after request.
    async fn connection(&self, shared: &Shared<'_>) -> Result<(), HttpError> {
        let mut client = Client::new(self.url);
        loop {
            let next = async { shared.intake.lock().await.next().await };
            let Some(Some(request)) = self.stop.run_until_cancelled(next).await else {
                return Ok(());
            };
            let start = Instant::now();
            let events = request.events();
            shared.sent.borrow_mut().handed_over(events, start);
            let copies = self
                .confirm(&mut client, &request, &shared.obstacle)
                .await?;
            let now = Instant::now();
            let mut sent = shared.sent.borrow_mut();
            for (topic, tally) in request.tallies(copies) {
                sent.add(topic, tally);
            }
            sent.confirmed(events, now - start, now);
        }
    }

    /// Sends a request until its success. Returns how many copies of its events may be in the stream in addition: after
    /// each answer other than success, and after each lost one, all or a part of them may be stored.
    async fn confirm(
        &self,
        client: &mut Client,
        request: &Request,
        obstacle: &RefCell<Option<String>>,
    ) -> Result<u64, HttpError> {
        let mut copies = 0;
        let mut pause = FIRST_PAUSE;
        loop {
            let reason = match client.post("/publish", request.body.clone()).await {
                Ok(Answer { status, .. }) if status.is_success() => {
                    obstacle.borrow_mut().take();
                    return Ok(copies);
                }
                Ok(Answer { status, body }) => {
                    let passes = status.is_server_error()
                        || status == StatusCode::REQUEST_TIMEOUT
                        || status == StatusCode::TOO_MANY_REQUESTS;
                    if !passes {
                        let body = String::from_utf8_lossy(&body).into_owned();
                        return Err(HttpError::Refused { status, body });
                    }
                    copies += 1;
                    format!("it answers {status}")
                }
                Err(Failed::Unsent(reason)) => reason,
                Err(Failed::Unanswered(reason)) => {
                    copies += 1;
                    reason
                }
            };
            obstacle.replace(Some(format!("the aggregator does not take it: {reason}")));
            let pausing = sleep(pause.mul_f64(rand::random_range(0.5..1.0)));
            if self.stop.run_until_cancelled(pausing).await.is_none() {
                return Err(HttpError::Unanswered);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
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
    use crate::{
        progress::Progress,
        traffic::{Recipe, Share, Traffic},
    };

    /// Answers each connection's only request with one of these, and closes it; an empty one is no answer.
    async fn server(answers: Vec<&'static str>) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                // The body is one array of events.
                while stream.read_u8().await.unwrap() != b']' {}
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Url::parse(&url).unwrap()
    }

    #[tokio::test]
    async fn every_failed_try_of_a_request_may_have_left_a_copy_of_its_events() {
        let busy =
            "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let taken = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
        let url = server(vec![busy, "", busy, taken]).await;
        let traffic = Traffic::new(&Recipe {
            seed: 1,
            run_id: "r".to_owned(),
            topics: 1,
            share: Share::NONE,
            payload_bytes: 100,
        });
        let flow = HttpFlow {
            url: &url,
            topics: 1,
            connections: 1,
            events_per_request: 5,
            rate: Rate::parse("0").unwrap(),
            stop: &CancellationToken::new(),
        };
        let progress = Progress::new(None, Duration::from_secs(60), Instant::now());
        let (sent, ended) = flow.run(Generator::new(&traffic, Some(5)), progress).await;
        ended.unwrap();
        let total = sent.total();
        assert_eq!((total.sent, total.possibly_doubled), (5, 15));
    }
}
