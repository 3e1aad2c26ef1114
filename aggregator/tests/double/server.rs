//! The core of the double: its state and its responses, without a socket and without time.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    api,
    durable::Durable,
    evidence::Evidence,
    message::Message,
    stream::Stream,
    wire::{self, Op},
};

/// Whether the double behaves like a broker by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only what the script says is delivered.
    Scripted,
    /// All unacked messages are delivered as soon as they are pulled.
    Honest,
}

#[derive(Debug)]
pub struct Server {
    pub stream: Stream,
    pub durable: Option<Durable>,
    /// The consumer that holds the store's position while the durable is recreated.
    pub position: Option<Durable>,
    pub mode: Mode,
    /// The number of acks that the broker will not receive.
    pub deaf: u32,
    /// The number of requests that will be answered with an error.
    pub refusals: u32,
    /// The version that it reports to the next client.
    pub version: &'static str,
    /// Whether clients may connect.
    pub is_open: bool,
    /// Actions of the aggregator that must never happen, and requests that the double does not support.
    pub faults: Vec<String>,
    /// Counts deliveries and acks.
    pub moment: u64,
    pub deliveries: u64,
    pub acks: u64,
    /// How often the stream's state was requested.
    pub checks: u64,
    pub evidence: Option<Evidence>,
    links: BTreeMap<u64, Link>,
    link_count: u64,
    /// The link and the inbox of the current session.
    session: Option<(u64, String)>,
    /// Its open requests for messages.
    pulls: Vec<Pull>,
}

#[derive(Debug)]
struct Link {
    outbox: mpsc::Sender<Bytes>,
    /// Subjects by their sid.
    subscriptions: BTreeMap<u64, String>,
}

#[derive(Debug)]
struct Pull {
    link: u64,
    inbox: String,
    left: u64,
}

impl Server {
    pub fn new() -> Self {
        Self {
            stream: Stream::new(),
            durable: None,
            position: None,
            mode: Mode::Scripted,
            deaf: 0,
            refusals: 0,
            version: "2.11.0",
            is_open: true,
            faults: Vec::new(),
            moment: 0,
            deliveries: 0,
            acks: 0,
            checks: 0,
            evidence: None,
            links: BTreeMap::new(),
            link_count: 0,
            session: None,
            pulls: Vec::new(),
        }
    }

    /// Accepts a client; `None` while the double is closed.
    pub fn connect(&mut self, outbox: mpsc::Sender<Bytes>) -> Option<u64> {
        if !self.is_open {
            return None;
        }
        self.link_count += 1;
        let link = Link {
            outbox,
            subscriptions: BTreeMap::new(),
        };
        self.links.insert(self.link_count, link);
        Some(self.link_count)
    }

    pub fn disconnect(&mut self, link: u64) {
        self.links.remove(&link);
        self.pulls.retain(|pull| pull.link != link);
    }

    /// Cuts every connection.
    pub fn cut(&mut self) {
        self.links.clear();
        self.pulls.clear();
    }

    pub fn hear(&mut self, link: u64, op: Op) {
        match op {
            Op::Connect | Op::Pong => {}
            Op::Ping => self.say(link, wire::PONG),
            Op::Subscribe { subject, sid } => {
                if let Some(link) = self.links.get_mut(&link) {
                    link.subscriptions.insert(sid, subject);
                }
            }
            Op::Unsubscribe { sid } => {
                let link_here = self.links.get_mut(&link);
                let subject = link_here.and_then(|link| link.subscriptions.remove(&sid));
                self.pulls
                    .retain(|pull| pull.link != link || Some(&pull.inbox) != subject.as_ref());
            }
            Op::Publish {
                subject,
                reply,
                payload,
            } => {
                if let Some(request) = subject.strip_prefix("$JS.API.") {
                    let reply = reply.unwrap_or_default();
                    api::answer(self, link, request, &reply, &payload);
                } else if let Some(delivery) = subject.strip_prefix("$JS.ACK.") {
                    self.ack(delivery, &payload);
                } else {
                    self.faults.push(format!(
                        "a publish to {subject}, which a consumer must not do"
                    ));
                }
            }
        }
        self.pump();
    }

    /// Sends a message to the subscribers of its subject on this link.
    pub fn send(&mut self, link: u64, subject: &str, reply: Option<&str>, payload: &[u8]) {
        if let Some(sid) = self.sid(link, subject) {
            self.say(link, wire::message(subject, sid, reply, payload));
        }
    }

    pub fn send_status(&mut self, link: u64, subject: &str, status: &str) {
        if let Some(sid) = self.sid(link, subject) {
            self.say(link, wire::status(subject, sid, status));
        }
    }

    fn sid(&self, link: u64, subject: &str) -> Option<u64> {
        let mut subscriptions = self.links.get(&link)?.subscriptions.iter();
        subscriptions
            .find(|(_, pattern)| wire::matches(pattern, subject))
            .map(|(sid, _)| *sid)
    }

    fn say(&mut self, link: u64, frame: Bytes) {
        if let Some(link) = self.links.get(&link) {
            // A closing link accepts nothing any more; a full one is a fault of the double.
            if let Err(mpsc::error::TrySendError::Full(_)) = link.outbox.try_send(frame) {
                self.faults
                    .push("the double's outbox is too small".to_owned());
            }
        }
    }

    /// Determines the outcome of deliveries whose session is over. Acks arrive in order, so on the requesting link
    /// unacked messages were not applied; those of another link may be applied without an ack.
    pub fn resolve(&mut self, asker: Option<u64>) {
        for record in &mut self.stream.records {
            if record.in_flight == 0 {
                continue;
            }
            record.in_flight = 0;
            let may_be = record.applied.is_none() && Some(record.link) != asker;
            if may_be
                && self
                    .evidence
                    .as_ref()
                    .is_some_and(|evidence| evidence.is_applied(record))
            {
                record.applied = Some(self.moment);
            }
        }
    }

    /// Accepts a request for messages. One on a new inbox begins a session: messages that were delivered to an earlier one and
    /// are not applied will not be applied by that delivery.
    pub fn pull(&mut self, link: u64, inbox: &str, batch: u64) {
        if self.durable.is_none() {
            self.send_status(link, inbox, "503");
            return;
        }
        match &self.session {
            Some((of, known)) if known == inbox && *of == link => {}
            // After a reconnect, the previous session may send one more request; its deliveries are not received.
            Some((_, known)) if known == inbox => return,
            _ => {
                self.session = Some((link, inbox.to_owned()));
                self.pulls.clear();
                self.resolve(Some(link));
            }
        }
        self.pulls.push(Pull {
            link,
            inbox: inbox.to_owned(),
            left: batch,
        });
    }

    pub fn is_pulled(&self) -> bool {
        self.durable.is_some() && self.pulls.iter().any(|pull| pull.left > 0)
    }

    pub fn pulls(&self) -> usize {
        self.pulls.len()
    }

    /// Sends a heartbeat to every open request.
    pub fn beat(&mut self, link: u64) {
        let waiting = self.pulls.iter().rev().find(|pull| pull.link == link);
        if let Some(inbox) = waiting.map(|pull| pull.inbox.clone()) {
            self.send_status(link, &inbox, "100 Idle Heartbeat");
        }
    }

    pub fn publish(&mut self, messages: Vec<Message>) {
        for message in messages {
            self.stream.publish(message);
        }
        self.pump();
    }

    /// Delivers the message of a sequence number, if it exists and a request is open.
    pub fn deliver(&mut self, sequence: u64) -> bool {
        let (Some(durable), Some(at)) = (&mut self.durable, self.stream.messages.get(&sequence))
        else {
            return false;
        };
        let Some(pull) = self.pulls.iter_mut().find(|pull| pull.left > 0) else {
            return false;
        };
        pull.left -= 1;
        let (link, inbox) = (pull.link, pull.inbox.clone());
        let record = &mut self.stream.records[*at];
        let number = durable.deliver(sequence);
        self.moment += 1;
        self.deliveries += 1;
        record.in_flight += 1;
        record.link = link;
        record.delivered.get_or_insert(self.moment);
        let ack = format!(
            "$JS.ACK.EVENTS.aggregator.1.{sequence}.{number}.{}.0",
            record.time
        );
        let (subject, body) = (record.message.subject(), record.message.body());
        // On the subject of the message, to the subscription of the inbox.
        if let Some(sid) = self.sid(link, &inbox) {
            self.say(link, wire::message(&subject, sid, Some(&ack), &body));
        }
        true
    }

    /// The messages that can be delivered and are not in transit.
    fn waiting(&self) -> Vec<u64> {
        let Some(durable) = &self.durable else {
            return Vec::new();
        };
        let mut waiting = durable.pending(&self.stream);
        waiting.extend(durable.fresh(&self.stream));
        waiting.retain(|sequence| {
            self.stream
                .get(*sequence)
                .is_some_and(|record| record.in_flight == 0)
        });
        waiting
    }

    /// In honest mode, delivers all available messages.
    pub fn pump(&mut self) {
        if self.mode == Mode::Honest {
            for sequence in self.waiting() {
                self.deliver(sequence);
            }
        }
    }

    /// Whether no delivery is in transit.
    pub fn is_settled(&self) -> bool {
        self.stream
            .records
            .iter()
            .all(|record| record.in_flight == 0)
    }

    /// Whether, in addition, all messages of the stream are acked.
    pub fn is_finished(&self) -> bool {
        self.is_settled() && self.is_pulled() && self.waiting().is_empty()
    }

    fn ack(&mut self, delivery: &str, payload: &[u8]) {
        let tokens: Vec<_> = delivery.split('.').collect();
        let ["EVENTS", "aggregator", _, sequence, _, time, _] = tokens[..] else {
            self.faults.push(format!("an ack of {delivery}"));
            return;
        };
        match payload {
            b"" | b"+ACK" => {}
            b"+WPI" => return,
            other => {
                let other = String::from_utf8_lossy(other);
                self.faults.push(format!(
                    "{other} for {delivery}, where only acks are expected"
                ));
                return;
            }
        }
        self.moment += 1;
        self.acks += 1;
        let record = time.parse().ok().and_then(|time| self.stream.at(time));
        let Some(record) = record.filter(|record| record.sequence.to_string() == sequence) else {
            self.faults
                .push(format!("an ack of {delivery}, which was never delivered"));
            return;
        };
        record.in_flight = record.in_flight.saturating_sub(1);
        record.applied.get_or_insert(self.moment);
        if let Some(Err(err)) = self
            .evidence
            .as_ref()
            .map(|evidence| evidence.holds(record))
        {
            self.faults
                .push(format!("an ack for {record:?}, but {err}"));
        }
        let (sequence, is_there) = (record.sequence, record.is_there);
        if self.deaf > 0 {
            self.deaf -= 1;
        } else if is_there && let Some(durable) = &mut self.durable {
            durable.ack(sequence, &self.stream);
        }
    }

    /// Loses the last sequence numbers, as a broker that did not sync does, and the durable with them.
    pub fn lose_tail(&mut self, count: u64) {
        self.stream.lose_tail(count);
        if let Some(durable) = &mut self.durable {
            durable.lose_tail(self.stream.last);
        }
        if let Some(position) = &mut self.position {
            position.lose_tail(self.stream.last);
        }
    }

    /// Moves the durable back to its position this many messages before the last delivered one.
    pub fn wind_back(&mut self, count: u64) {
        if let Some(durable) = &mut self.durable {
            durable.wind_back(count);
        }
    }

    /// Loses the durable, and notifies the open requests.
    pub fn forget_durable(&mut self) {
        self.durable = None;
        for pull in std::mem::take(&mut self.pulls) {
            self.send_status(pull.link, &pull.inbox, "409 Consumer Deleted");
        }
    }
}
