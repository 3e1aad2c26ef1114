//! Scripts: the steps that happen to the consumer.

use proptest::{collection::vec, prelude::*};

use super::{
    message::{Arrival, Message},
    oracle::{self, Books},
    server::Mode,
    stage::{Failure, Settings, Stage},
};

/// A step of the double.
#[derive(Debug, Clone)]
pub enum Step {
    /// Messages are published to the stream.
    Publish(Vec<Message>),
    /// Messages are delivered in this order.
    Deliver(Vec<Pick>),
    /// Waits until every delivery is acked.
    Settle,
    /// The broker does not receive the next acks.
    LoseAcks(u8),
    /// The next requests are answered with an error.
    Refuse(u8),
    /// The broker's memory changes without losing the connection.
    Change(Change),
    /// The connection is lost; the broker's memory may change meanwhile.
    Cut(Vec<Change>),
    /// The connection is lost and re-established immediately.
    Blink,
    /// The process is killed and restarted; the broker's memory may change meanwhile.
    Kill(Vec<Change>),
    /// The process is stopped gracefully and restarted.
    Restart,
    /// Writes fail while messages are delivered, until the given end.
    Fail(Failure, Vec<Pick>, End),
}

/// Which message is delivered; numbers wrap around.
#[derive(Debug, Clone, Copy)]
pub enum Pick {
    /// This many that were not delivered yet, in order.
    Next(u8),
    /// One of those that were not delivered yet; the broker counts those before it as delivered.
    Nth(u8),
    /// One that was delivered and is not acked, as far as the broker received.
    Again(u8),
}

/// What happens to the broker's memory.
#[derive(Debug, Clone)]
pub enum Change {
    /// This many of the last sequence numbers are reused.
    LoseTail(u8),
    Publish(Vec<Message>),
    ForgetDurable,
    /// The durable moves back by this many messages.
    WindBack(u8),
    /// Another stream takes the name.
    Replace,
}

/// How a period of failing writes ends.
#[derive(Debug, Clone, Copy)]
pub enum End {
    Repair,
    /// The connection is lost first.
    Cut,
    /// The process is killed first.
    Kill,
}

impl Stage {
    /// Runs the steps, then lets the double behave like a broker until all is applied, and compares.
    pub async fn play(settings: Settings, steps: &[Step]) {
        let mut stage = Self::start(settings).await;
        for step in steps {
            stage.step(step).await;
        }
        stage.finish().await;
    }

    pub async fn step(&mut self, step: &Step) {
        match step {
            Step::Publish(messages) => self.change_broker(&Change::Publish(messages.clone())),
            Step::Deliver(picks) => self.deliver(picks).await,
            Step::Settle => self.settled().await,
            Step::LoseAcks(count) => self.broker.with(|server| server.deaf = (*count).into()),
            Step::Refuse(count) => self.broker.with(|server| server.refusals = (*count).into()),
            Step::Change(change) => self.change_broker(change),
            Step::Cut(changes) => {
                self.know_what_is_lost().await;
                self.cut().await;
                for change in changes {
                    self.change_broker(change);
                }
                self.open();
            }
            Step::Blink => {
                self.know_what_is_lost().await;
                self.broker.with(super::server::Server::cut);
            }
            Step::Kill(changes) => {
                self.know_what_is_lost().await;
                self.kill().await;
                for change in changes {
                    self.change_broker(change);
                }
                self.open();
                self.run().await;
            }
            Step::Restart => {
                self.know_what_is_lost().await;
                self.stop().await;
                self.broker.with(|server| server.resolve(None));
                self.open();
                self.run().await;
            }
            Step::Fail(failure, picks, end) => {
                self.know_what_is_lost().await;
                self.pulled().await;
                self.break_writes(*failure);
                self.deliver(picks).await;
                self.failed().await;
                match end {
                    End::Repair => self.repair_writes(),
                    End::Cut => {
                        self.broker.with(|server| {
                            server.is_open = false;
                            server.cut();
                        });
                        self.repair_writes();
                        self.cut().await;
                        self.open();
                    }
                    End::Kill => {
                        self.kill().await;
                        self.repair_writes();
                        self.open();
                        self.run().await;
                    }
                }
            }
        }
    }

    async fn deliver(&self, picks: &[Pick]) {
        for pick in picks {
            self.pulled().await;
            self.broker.with(|server| {
                let Some(durable) = &server.durable else {
                    return;
                };
                let (fresh, pending) = (
                    durable.fresh(&server.stream),
                    durable.pending(&server.stream),
                );
                let nth = |all: &[u64], n: u8| all.get(usize::from(n) % all.len().max(1)).copied();
                let chosen = match *pick {
                    Pick::Next(count) => fresh.into_iter().take(count.into()).collect(),
                    Pick::Nth(n) => Vec::from_iter(nth(&fresh, n)),
                    Pick::Again(n) => Vec::from_iter(nth(&pending, n)),
                };
                for sequence in chosen {
                    server.deliver(sequence);
                }
            });
        }
    }

    fn change_broker(&self, change: &Change) {
        self.broker.with(|server| match change {
            Change::LoseTail(count) => server.lose_tail((*count).into()),
            Change::Publish(messages) => server.publish(messages.clone()),
            Change::ForgetDurable => server.forget_durable(),
            Change::WindBack(count) => server.wind_back((*count).into()),
            Change::Replace => {
                server.stream.replace();
                server.forget_durable();
            }
        });
    }

    /// Waits until it is known for every delivery of a message that the stream lost whether it was applied. If the
    /// session ends first, that cannot be known any more.
    async fn know_what_is_lost(&self) {
        let is_known = |server: &mut super::server::Server| {
            let mut lost = server
                .stream
                .records
                .iter()
                .filter(|record| !record.is_there);
            lost.all(|record| record.in_flight == 0).then_some(())
        };
        self.broker
            .until("lost messages are acked, or can never be", is_known)
            .await;
    }

    /// Behaves like a broker until all is applied; then delivers everything once more, which must change nothing.
    pub async fn finish(mut self) {
        self.broker.with(|server| {
            server.mode = Mode::Honest;
            (server.deaf, server.refusals) = (0, 0);
            server.pump();
        });
        self.broker
            .until("everything is acked", |server| {
                server.is_finished().then_some(())
            })
            .await;
        let before = Books::of(self.path());
        self.broker.with(|server| oracle::check(server, &before));

        let acks = self.broker.with(|server| {
            let acks = server.acks;
            server.wind_back(u64::MAX);
            server.pump();
            acks
        });
        self.broker
            .until("everything is acked again", |server| {
                server.is_finished().then_some(())
            })
            .await;
        self.stop().await;
        let mut after = Books::of(self.path());
        let again = self.broker.with(|server| {
            oracle::check(server, &after);
            server.acks - acks
        });
        // The ones that were delivered: an ending session takes none, and trimming may be faster.
        assert_eq!(
            after.counters.redelivered,
            before.counters.redelivered + again
        );
        after.counters.redelivered = before.counters.redelivered;
        assert_eq!(after, before, "redeliveries change nothing");
    }
}

fn message() -> impl Strategy<Value = Message> {
    let arrival = prop_oneof![
        12 => (0u8..10, prop_oneof![4 => Just(0u8), 1 => Just(1u8)]).prop_map(|(id, content)| Arrival::Event { id, content }),
        1 => (0u8..4).prop_map(|id| Arrival::Foreign { id }),
        1 => Just(Arrival::Noise),
    ];
    (0u8..2, vec(arrival, 1..4)).prop_map(|(topic, arrivals)| Message { topic, arrivals })
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    vec(message(), 1..5)
}

fn picks() -> impl Strategy<Value = Vec<Pick>> {
    let pick = prop_oneof![
        4 => (1u8..5).prop_map(Pick::Next),
        2 => (0u8..6).prop_map(Pick::Nth),
        4 => (0u8..6).prop_map(Pick::Again),
    ];
    vec(pick, 1..5)
}

/// Steps of any script.
fn traffic() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => messages().prop_map(Step::Publish),
        6 => picks().prop_map(Step::Deliver),
        2 => Just(Step::Settle),
        2 => (1u8..6).prop_map(Step::LoseAcks),
    ]
}

/// Changes of the broker's memory that lose no message.
fn forgetting() -> impl Strategy<Value = Change> {
    prop_oneof![
        Just(Change::ForgetDurable),
        (0u8..8).prop_map(Change::WindBack),
        messages().prop_map(Change::Publish),
    ]
}

/// Changes of the broker's memory that lose messages.
fn losing() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (1u8..8).prop_map(Change::LoseTail),
        3 => forgetting(),
        3 => messages().prop_map(Change::Publish),
    ]
}

/// Deliveries and acks in every order.
pub fn deliveries() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => traffic(),
        1 => forgetting().prop_map(Step::Change),
        1 => Just(Step::Blink),
    ];
    vec(step, 1..14)
}

/// Connections and processes that end.
pub fn interruptions() -> impl Strategy<Value = Vec<Step>> {
    let changes = || vec(forgetting(), 0..3);
    let step = prop_oneof![
        8 => traffic(),
        1 => changes().prop_map(Step::Cut),
        1 => changes().prop_map(Step::Kill),
        1 => Just(Step::Blink),
        1 => Just(Step::Restart),
        1 => (1u8..4).prop_map(Step::Refuse),
    ];
    vec(step, 1..12)
}

/// Numbers that are reused.
pub fn losses() -> impl Strategy<Value = Vec<Step>> {
    let changes = || vec(losing(), 1..5);
    let step = prop_oneof![
        8 => traffic(),
        1 => changes().prop_map(Step::Cut),
        1 => changes().prop_map(Step::Kill),
        2 => losing().prop_map(Step::Change),
    ];
    vec(step, 1..12)
}

/// Transactions that fail.
pub fn failures() -> impl Strategy<Value = Vec<Step>> {
    let failure = prop_oneof![Just(Failure::Middle), Just(Failure::Commit)];
    let end = prop_oneof![2 => Just(End::Repair), 1 => Just(End::Cut), 1 => Just(End::Kill)];
    let step = prop_oneof![
        6 => traffic(),
        3 => (failure, picks(), end).prop_map(|(failure, picks, end)| Step::Fail(failure, picks, end)),
        1 => Just(Step::Blink),
    ];
    vec(step, 1..9)
}

/// All of these.
pub fn anything() -> impl Strategy<Value = Vec<Step>> {
    let changes = || {
        let change = prop_oneof![8 => losing(), 1 => Just(Change::Replace)];
        vec(change, 0..4)
    };
    let failure = prop_oneof![Just(Failure::Middle), Just(Failure::Commit)];
    let end = prop_oneof![Just(End::Repair), Just(End::Cut), Just(End::Kill)];
    let step = prop_oneof![
        16 => traffic(),
        1 => changes().prop_map(Step::Cut),
        1 => changes().prop_map(Step::Kill),
        1 => Just(Step::Blink),
        1 => Just(Step::Restart),
        1 => losing().prop_map(Step::Change),
        1 => (1u8..4).prop_map(Step::Refuse),
        1 => (failure, picks(), end).prop_map(|(failure, picks, end)| Step::Fail(failure, picks, end)),
    ];
    vec(step, 1..16)
}

/// Batches of one event or of many, immediately or after a while; a stream that keeps all applied messages or none.
pub fn settings() -> impl Strategy<Value = Settings> {
    (
        1usize..8,
        0u64..6,
        prop_oneof![3 => Just(u64::MAX), 1 => Just(0)],
    )
        .prop_map(|(batch_events, batch_wait_ms, keep_bytes)| Settings {
            batch_events,
            batch_wait_ms,
            keep_bytes,
            patience: aggregator::consumer::PATIENCE,
        })
}
