//! The sizes of the stream's oldest messages, so that trimming removes the surplus and no more. They are read through a consumer
//! that receives headers only. Each size is read once: sizes read ahead are used by the next pass.

use std::{collections::VecDeque, time::Duration};

use async_nats::{
    Message,
    jetstream::{
        consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
        stream::{Info, Stream},
    },
};
use futures::StreamExt;
use tokio::time::timeout;

/// Messages per pull request, and so the most whose sequences and sizes are in memory.
const READ_AHEAD: usize = 10_000;

/// Messages read for one cut; the next cut continues.
const MOST: usize = 10 * READ_AHEAD;

/// The broker removes the consumer after this time without use.
const INACTIVE_THRESHOLD: Duration = Duration::from_secs(30);

/// How long the broker may take to deliver a message that it has.
const PATIENCE: Duration = Duration::from_secs(10);

/// The header with the size of the body, which is not delivered.
const BODY_SIZE: &str = "Nats-Msg-Size";

/// The known sizes, and the consumer that reads the next ones; `None` before the first use and after a failure.
#[derive(Debug, Default)]
pub(super) struct Sizes(Option<(PullConsumer, Ahead)>);

impl Sizes {
    /// The sequence before which messages must be removed to free `surplus` bytes: all of them but the last fit into
    /// the surplus. At most `limit`, and less if more messages would have to be read: the next cut continues from there.
    ///
    /// # Errors
    /// If the broker does not deliver the sizes.
    pub async fn cut(
        &mut self,
        stream: &Stream<Info>,
        first: u64,
        surplus: u64,
        limit: u64,
    ) -> Result<u64, async_nats::Error> {
        // Stored again only on success.
        let (consumer, mut ahead) = match self.0.take() {
            Some((consumer, ahead)) if ahead.from <= first => (consumer, ahead),
            _ => (consumer(stream, first).await?, Ahead::from(first)),
        };
        let mut cut = Cut {
            before: first,
            bytes: 0,
        };
        for _ in 0..MOST / READ_AHEAD {
            if ahead.take(&mut cut, surplus, limit) {
                break;
            }
            let mut messages = consumer.fetch().max_messages(READ_AHEAD).messages().await?;
            let mut is_end = true;
            while let Some(message) = timeout(PATIENCE, messages.next()).await? {
                let message = message?;
                let info = message.info()?;
                ahead.read(
                    info.consumer_sequence,
                    info.stream_sequence,
                    size(&message)?,
                )?;
                is_end = false;
            }
            if is_end {
                break;
            }
        }
        ahead.take(&mut cut, surplus, limit);
        self.0 = Some((consumer, ahead));
        Ok(cut.before)
    }
}

async fn consumer(stream: &Stream<Info>, first: u64) -> Result<PullConsumer, async_nats::Error> {
    let config = pull::Config {
        description: Some("sizes of messages, for trimming".to_owned()),
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: first.max(1),
        },
        ack_policy: AckPolicy::None,
        headers_only: true,
        inactive_threshold: INACTIVE_THRESHOLD,
        num_replicas: 1,
        memory_storage: true,
        ..pull::Config::default()
    };
    Ok(stream.create_consumer(config).await?)
}

/// The bytes that the broker counts for a message, computed from its headers.
fn size(message: &Message) -> Result<u64, async_nats::Error> {
    let headers = message
        .headers
        .as_ref()
        .ok_or("a message without headers")?;
    let body = headers.get(BODY_SIZE).ok_or("a message without its size")?;
    let body: usize = body.as_str().parse()?;
    let lines = headers
        .iter()
        .filter(|(name, _)| AsRef::<str>::as_ref(name) != BODY_SIZE);
    let lines = lines.flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        // A colon and a space separate them, and a line end follows.
        values
            .iter()
            .map(|value| name.len() + value.as_str().len() + 4)
    });
    let lines: usize = lines.sum();
    // The version of the headers, the empty line after them, and their length.
    let head = if lines > 0 { 12 + lines + 2 + 4 } else { 0 };
    // The record's length, sequence, time, subject length, and checksum.
    Ok((22 + message.subject.len() + head + body + 8) as u64)
}

/// The state of a cut.
#[derive(Debug)]
struct Cut {
    before: u64,
    bytes: u64,
}

/// Sizes in the order of their sequences.
#[derive(Debug)]
struct Ahead {
    /// All messages from this sequence on are known, or are still to be read.
    from: u64,
    /// Messages that the consumer has delivered.
    delivered: u64,
    known: VecDeque<(u64, u64)>,
}

impl Ahead {
    fn from(first: u64) -> Self {
        Self {
            from: first,
            delivered: 0,
            known: VecDeque::new(),
        }
    }

    /// Adds a message.
    fn read(&mut self, number: u64, sequence: u64, bytes: u64) -> Result<(), async_nats::Error> {
        if number != self.delivered + 1 {
            return Err("a message was lost in transit".into());
        }
        self.delivered = number;
        self.known.push_back((sequence, bytes));
        Ok(())
    }

    /// Advances the cut as far as it must go and sizes are known; returns whether it is complete.
    fn take(&mut self, cut: &mut Cut, surplus: u64, limit: u64) -> bool {
        while cut.bytes < surplus && cut.before < limit {
            let Some(&(sequence, bytes)) = self.known.front() else {
                return false;
            };
            if sequence >= limit {
                return true;
            }
            self.known.pop_front();
            self.from = sequence + 1;
            // Earlier ones are already removed.
            if sequence >= cut.before {
                cut.before = sequence + 1;
                cut.bytes += bytes;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many messages a cut removes, given the sizes of the messages from sequence 1 on.
    fn taken(ahead: &mut Ahead, sizes: &[u64], first: u64, surplus: u64, limit: u64) -> u64 {
        let mut cut = Cut {
            before: first,
            bytes: 0,
        };
        while !ahead.take(&mut cut, surplus, limit) {
            let read = usize::try_from(ahead.delivered).unwrap();
            let Some(bytes) = sizes.get(read) else { break };
            let number = ahead.delivered + 1;
            ahead.read(number, number, *bytes).unwrap();
        }
        cut.before - first
    }

    #[test]
    fn trimming_reaches_the_budget_and_removes_no_message_more() {
        let (small, large) = (vec![100; 10_000], vec![500_000; 100]);
        let sizes: [Vec<u64>; 7] = [
            [&small[..], &large].concat(),
            [&large[..], &small].concat(),
            [&small[..], &large, &small].concat(),
            [&large[..], &small, &large].concat(),
            (0..2_000)
                .map(|n| if n % 50 == 0 { 1_000_000 } else { 100 })
                .collect(),
            [vec![1; 100_000], vec![1_000_000; 1]].concat(),
            vec![500_000; 4],
        ];
        for sizes in sizes {
            let total: u64 = sizes.iter().sum();
            let largest = *sizes.iter().max().unwrap();
            let last = sizes.len() as u64;
            for percent in [0, 10, 50, 90, 99] {
                let keep = total * percent / 100;
                let (mut ahead, surplus) = (Ahead::from(1), total - keep);
                let gone = taken(&mut ahead, &sizes, 1, surplus, last + 1);
                let left: u64 = sizes[usize::try_from(gone).unwrap()..].iter().sum();
                assert!(left <= keep, "{left} of {keep} bytes, {percent} %");
                assert!(
                    left >= keep.saturating_sub(largest),
                    "{left} of {keep} bytes, {percent} %"
                );
            }
        }
    }

    #[test]
    fn a_cut_ends_at_its_limit_and_the_next_one_continues_from_there() {
        let sizes = [10; 100];
        let mut ahead = Ahead::from(1);
        assert_eq!(taken(&mut ahead, &sizes, 1, 1_000, 31), 30);
        assert_eq!(ahead.from, 31);
        assert_eq!(taken(&mut ahead, &sizes, 31, 95, 101), 10);
        // Another aggregator trimmed meanwhile.
        assert_eq!(taken(&mut ahead, &sizes, 61, 20, 101), 2);
        assert_eq!(ahead.from, 63);
    }

    #[test]
    fn a_message_lost_in_transit_is_detected() {
        let mut ahead = Ahead::from(1);
        ahead.read(1, 1, 10).unwrap();
        assert!(ahead.read(3, 3, 10).is_err());
    }
}
