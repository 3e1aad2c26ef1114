//! Requests: paced, generated events as bodies of `POST /publish`.

use bytes::Bytes;
use shared::message;
use tokio::time::{Instant, sleep_until};

use crate::{
    flow::{
        Sample,
        pace::{Pace, Rate},
    },
    send_stats::Tally,
    traffic::Generator,
};

/// Produces the requests.
#[derive(Debug)]
pub(super) struct RequestSource<'a> {
    generator: Generator<'a>,
    pace: Pace,
    events_per_request: usize,
    is_at_end: bool,
}

/// Events that are sent together.
#[derive(Debug)]
pub(super) struct Request {
    /// One event, or an array of them.
    pub body: Bytes,
    /// The topic of each event, and whether it is the first with its identity.
    events: Vec<(usize, bool)>,
}

impl<'a> RequestSource<'a> {
    pub fn new(generator: Generator<'a>, rate: Rate, events_per_request: usize) -> Self {
        Self {
            generator,
            pace: Pace::new(rate, Instant::now()),
            events_per_request,
            is_at_end: false,
        }
    }

    /// The next request, once an event is due; `None` at the end. Cancel safe: no event is lost if the future is dropped
    /// before it completes.
    pub async fn next(&mut self) -> Option<Request> {
        let allowance = loop {
            let now = Instant::now();
            let allowance = self.pace.allowance(now);
            if allowance > 0 {
                break allowance.min(self.events_per_request);
            }
            sleep_until(self.pace.next(now)).await;
        };
        let mut samples = self.generator.take(allowance);
        while samples.len() < allowance {
            let more = self.generator.take(allowance - samples.len());
            if more.is_empty() {
                self.is_at_end = true;
                break;
            }
            samples.extend(more);
        }
        self.pace.record(samples.len());
        Request::new(&samples)
    }

    /// Whether there are no more events.
    pub fn is_at_end(&self) -> bool {
        self.is_at_end
    }
}

impl Request {
    /// `None` without events.
    fn new(samples: &[Sample]) -> Option<Self> {
        let body = match samples {
            [] => return None,
            [sample] => sample.json.clone(),
            samples => {
                let events = || samples.iter().map(|sample| &sample.json);
                let capacity = events().map(|json| json.len() + 1).sum::<usize>() + 1;
                message::encode(events(), capacity)
            }
        };
        let events = samples.iter().map(|sample| (sample.topic, sample.is_new));
        Some(Self {
            body,
            events: events.collect(),
        })
    }

    pub fn events(&self) -> u64 {
        self.events.len() as u64
    }

    /// Each event's topic and its contribution to the tally, given how many extra copies of the request may be stored.
    pub fn tallies(&self, copies: u64) -> impl Iterator<Item = (usize, Tally)> + '_ {
        self.events.iter().map(move |(topic, is_new)| {
            let tally = Tally {
                sent: 1,
                unique: u64::from(*is_new),
                possibly_doubled: copies,
            };
            (*topic, tally)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{Recipe, Share, Traffic};

    fn traffic() -> Traffic {
        Traffic::new(&Recipe {
            seed: 1,
            run_id: "r".to_owned(),
            topics: 3,
            share: Share::parse("0.25").unwrap(),
            payload_bytes: 100,
        })
    }

    async fn requests(count: u64, events_per_request: usize) -> (Vec<Request>, bool) {
        let traffic = traffic();
        let generator = Generator::new(&traffic, Some(count));
        let mut source =
            RequestSource::new(generator, Rate::parse("0").unwrap(), events_per_request);
        let mut requests = Vec::new();
        while let Some(request) = source.next().await {
            requests.push(request);
        }
        (requests, source.is_at_end())
    }

    #[tokio::test]
    async fn events_are_split_into_requests_until_the_end() {
        let (requests, is_at_end) = requests(1_000, 300).await;
        let sizes: Vec<_> = requests.iter().map(Request::events).collect();
        assert_eq!(sizes, [300, 300, 300, 100]);
        assert!(is_at_end);
        let tallies = requests.iter().flat_map(|request| request.tallies(2));
        let (sent, unique, doubled) = tallies.fold((0, 0, 0), |sum, (_, tally)| {
            (
                sum.0 + tally.sent,
                sum.1 + tally.unique,
                sum.2 + tally.possibly_doubled,
            )
        });
        assert_eq!((sent, unique, doubled), (1_000, 750, 2_000));
        let elements = message::elements(&requests[0].body, 1_000).unwrap();
        assert_eq!(elements.total, 300);
    }

    #[tokio::test]
    async fn a_single_event_is_sent_without_an_array() {
        let (requests, _) = requests(2, 1).await;
        assert_eq!(requests.len(), 2);
        assert!(
            requests
                .iter()
                .all(|request| request.body.starts_with(b"{"))
        );
    }

    #[tokio::test]
    async fn with_a_rate_only_due_events_are_sent() {
        let traffic = traffic();
        let generator = Generator::new(&traffic, None);
        let mut source = RequestSource::new(generator, Rate::parse("100").unwrap(), 10);
        let start = Instant::now();
        let mut events = 0;
        while events < 5 {
            events += source.next().await.unwrap().events();
        }
        assert!(start.elapsed() >= std::time::Duration::from_millis(40));
    }
}
