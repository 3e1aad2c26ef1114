//! The flow of generated events through `POST /publish`: over a fixed number of connections, each with one request in
//! flight, until every request is answered.
//!
//! It runs as a single task, so that the load falls on the aggregator and not on this process.

mod client;
mod request;

use std::{cell::RefCell, time::Duration};

use futures::{TryStreamExt, stream::FuturesUnordered};
use hyper::StatusCode;
use shared::api::Target;
use tokio::{
    sync::Mutex,
    time::{Instant, interval, sleep},
};
use tokio_util::sync::CancellationToken;

pub use self::client::{Answer, Client, ClientError};
use self::request::{Request, RequestSource};
use super::{SHOW_EVERY, STOP_DEADLINE, pace::Rate};
use crate::{
    progress::{Progress, ProgressState},
    send_stats::SendStats,
    traffic::Generator,
};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why the flow ended early.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The aggregator refused a request, and would refuse it again.
    #[error("the aggregator responded with {status}: {body}")]
    Refused { status: StatusCode, body: String },
    /// The connection cannot be encrypted, or the certificate of the aggregator is not trusted.
    #[error("no encrypted connection to the aggregator: {0}")]
    Untrusted(String),
    /// The flow was stopped before the aggregator had accepted every request.
    #[error("stopped before every request was answered")]
    Unanswered,
}

/// The parameters of a flow, other than its events.
#[derive(Debug)]
pub struct HttpFlow<'a> {
    /// The aggregator.
    pub target: &'a Target,
    /// Number of topics.
    pub topics: usize,
    pub connections: usize,
    /// Maximum events in one request.
    pub events_per_request: usize,
    /// Events per second.
    pub rate: Rate,
    /// Stops the flow.
    pub stop: &'a CancellationToken,
}

/// The state shared by all connections.
struct Shared<'a> {
    /// A connection that waits for events to become due holds the lock, and the others queue for it.
    requests: Mutex<RequestSource<'a>>,
    sent: RefCell<SendStats>,
    /// Why a request is being retried; cleared by the next success.
    obstacle: RefCell<Option<String>>,
}

impl HttpFlow<'_> {
    /// Sends events until the generator ends, or until the flow is stopped or fails. Always returns what was sent, which is
    /// complete only if the generator's end was reached without an error.
    pub async fn run(
        &self,
        generator: Generator<'_>,
        mut progress: Progress,
    ) -> (SendStats, Result<(), HttpError>) {
        let shared = Shared {
            requests: Mutex::new(RequestSource::new(
                generator,
                self.rate,
                self.events_per_request,
            )),
            sent: RefCell::new(SendStats::new(self.topics)),
            obstacle: RefCell::new(None),
        };
        let connections: FuturesUnordered<_> = (0..self.connections)
            .map(|_| self.connection(&shared))
            .collect();
        let show = async {
            let mut show = interval(SHOW_EVERY);
            loop {
                let now = show.tick().await;
                let state = ProgressState {
                    sent: shared.sent.borrow().total().sent,
                    obstacle: shared.obstacle.borrow().clone(),
                };
                progress.show(state, now);
            }
        };
        let deadline = async {
            self.stop.cancelled().await;
            sleep(STOP_DEADLINE).await;
        };
        let ended = tokio::select! {
            ended = connections.try_collect::<()>() => ended,
            () = deadline => Err(HttpError::Unanswered),
            () = show => Ok(()),
        };
        let Shared { requests, sent, .. } = shared;
        let mut sent = sent.into_inner();
        sent.complete = ended.is_ok() && requests.into_inner().is_at_end();
        (sent, ended)
    }

    /// Sends one request after another over one connection.
    async fn connection(&self, shared: &Shared<'_>) -> Result<(), HttpError> {
        let mut client = Client::new(self.target);
        loop {
            let next = async { shared.requests.lock().await.next().await };
            let Some(Some(request)) = self.stop.run_until_cancelled(next).await else {
                return Ok(());
            };
            let start = Instant::now();
            let events = request.events();
            shared.sent.borrow_mut().record_send(events, start);
            let copies = self
                .confirm(&mut client, &request, &shared.obstacle)
                .await?;
            let now = Instant::now();
            let mut sent = shared.sent.borrow_mut();
            for (topic, tally) in request.tallies(copies) {
                sent.add(topic, tally);
            }
            sent.record_confirmation(events, now - start, now);
        }
    }

    /// Sends a request until it succeeds. Returns how many extra copies of its events may be in the stream: an attempt that
    /// got an error response, or no response, may have stored some or all of them.
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
                    let is_transient = status.is_server_error()
                        || status == StatusCode::REQUEST_TIMEOUT
                        || status == StatusCode::TOO_MANY_REQUESTS;
                    if !is_transient {
                        let body = String::from_utf8_lossy(&body).into_owned();
                        return Err(HttpError::Refused { status, body });
                    }
                    copies += 1;
                    format!("it responded with {status}")
                }
                Err(ClientError::Unsent(reason)) => reason,
                Err(ClientError::Untrusted(reason)) => return Err(HttpError::Untrusted(reason)),
                Err(ClientError::Unanswered(reason)) => {
                    copies += 1;
                    reason
                }
            };
            obstacle.replace(Some(format!(
                "the aggregator at {} does not accept the request: {reason}",
                client.authority()
            )));
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

    /// Responds to the single request on each connection with the next answer, and closes the connection. An empty answer
    /// closes it without a response.
    async fn server(answers: Vec<&'static str>) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                // The body is an array of events whose payloads contain no `]`.
                while stream.read_u8().await.unwrap() != b']' {}
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Target::new(&url.parse().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn every_failed_attempt_of_a_request_may_have_stored_a_copy_of_its_events() {
        let busy =
            "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let accepted = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
        let target = server(vec![busy, "", busy, accepted]).await;
        let traffic = Traffic::new(&Recipe {
            seed: 1,
            run_id: "r".to_owned(),
            topics: 1,
            share: Share::NONE,
            payload_bytes: 100,
        });
        let flow = HttpFlow {
            target: &target,
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
