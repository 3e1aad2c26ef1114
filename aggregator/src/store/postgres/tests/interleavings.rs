//! Two aggregators that append at the same time, in each order in which the database can receive their statements.
//!
//! A proxy before each aggregator holds its statements. The test lets one of them pass, waits until the server has answered it or
//! it waits for a lock, and goes on. A choice among several that can pass is a fork: all ways are tried, by running the appends again
//! with other identities and messages for each way.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use tokio::{runtime::Runtime, task::JoinHandle, time::sleep};

use super::{
    Opened,
    turnstile::{At, Turnstile},
};
use crate::store::{
    self, Appended, Delivery,
    postgres::connect::Connection,
    tests::{
        arrivals::{Arrival, mixed_delivery},
        database::Database,
        model::{self, Model},
        random::arrivals,
    },
};

/// The messages of a batch, as numbers, each with its arrivals.
type Batch = Vec<(u64, Vec<Arrival>)>;

/// Two aggregators behind proxies, and the model of what they did.
struct Pair {
    runtime: Runtime,
    one: (Opened, Turnstile),
    other: (Opened, Turnstile),
    observer: Opened,
    model: Model,
    /// The next unused sequence, and topic.
    sequence: u64,
    topic: u8,
}

/// The statements before which the order matters: the others of an append read or write rows that only it changes. Topics that are new to
/// the store are added before, see the tests of `counted`.
const DECISIVE: [&str; 4] = [
    "INSERT INTO applied",
    "INSERT INTO events",
    "SELECT fingerprint",
    "COMMIT",
];

fn is_decisive(sql: &str) -> bool {
    DECISIVE.iter().any(|start| sql.starts_with(start))
}

impl Pair {
    fn new(database: &Database) -> Self {
        let runtime = Runtime::new().unwrap();
        let (one, other, observer) = runtime.block_on(async {
            let behind = async |turnstile: Turnstile| {
                let opened = Opened::at(&database.url_through(turnstile.port)).await;
                let stream = store::tests::arrivals::stream(1, 0);
                opened.writer.meet(&stream.into(), 0).await.unwrap();
                (opened, turnstile)
            };
            (
                behind(Turnstile::before(database).await).await,
                behind(Turnstile::before(database).await).await,
                Opened::with_stream(database, 0).await,
            )
        });
        Self {
            runtime,
            one,
            other,
            observer,
            model: Model::default(),
            sequence: 1,
            topic: 0,
        }
    }

    /// Appends both batches at once. `choose` returns which of two statements that can pass goes first.
    fn append(
        &mut self,
        batches: [&Batch; 2],
        is_fork: impl Fn(&str) -> bool,
        choose: impl FnMut() -> usize,
    ) {
        let batches = batches.map(|batch| self.place(batch));
        let sequences = batches.iter().flatten().map(|(sequence, _)| *sequence);
        self.sequence = sequences.max().unwrap_or(0) + 1;
        self.topic = self.topic.wrapping_add(2);
        let [first, second] = batches.each_ref().map(|batch| {
            let deliveries = batch.iter();
            let deliver =
                deliveries.map(|(sequence, arrivals)| mixed_delivery(*sequence, arrivals));
            deliver.collect::<Vec<_>>()
        });
        let turnstiles = [&self.one.1, &self.other.1];
        let done = self.runtime.block_on(async {
            let observer = self.observer.writer.shared().pool.get().await.unwrap();
            for turnstile in turnstiles {
                turnstile.close();
            }
            let tasks = [spawn(&self.one.0, first), spawn(&self.other.0, second)];
            pass_in_turns(&observer, turnstiles, &tasks, is_fork, choose).await;
            for turnstile in turnstiles {
                turnstile.open();
            }
            let [one, other] = tasks;
            [one.await.unwrap(), other.await.unwrap()]
        });
        let orders = [[0, 1], [1, 0]].into_iter().find_map(|order| {
            let mut model = self.model.clone();
            let as_modelled =
                order.map(|number: usize| model.append_batch(&batches[number]) == done[number]);
            (as_modelled == [true, true]).then_some(model)
        });
        self.model = orders
            .unwrap_or_else(|| panic!("{done:?} is the result of neither order of {batches:?}"));
    }

    /// The batch with sequences and topics that were not used before.
    fn place(&self, batch: &Batch) -> Batch {
        let of_topic = |arrival: &Arrival| match *arrival {
            Arrival::Event { topic, id, content } => Arrival::Event {
                topic: self.topic + topic,
                id,
                content,
            },
            Arrival::Noise => Arrival::Noise,
        };
        let placed = batch.iter().map(|(number, arrivals)| {
            (
                self.sequence + number,
                arrivals.iter().map(of_topic).collect(),
            )
        });
        placed.collect()
    }

    /// Compares all that the store answers with the model.
    fn check(&self) {
        self.runtime.block_on(self.observer.pass());
        let reader = store::Reader::Postgres(self.observer.reader.clone());
        model::check(&self.runtime, &reader, &self.model);
    }

    /// Appends the batches in each order that there is; returns how many there are.
    fn append_in_each_order(&mut self, batches: [&Batch; 2]) -> usize {
        in_each_order(|choose| self.append(batches, is_decisive, choose))
    }
}

/// Runs something with each sequence of choices between two ways that it can ask for; returns how many there are.
pub(super) fn in_each_order(mut run: impl FnMut(&mut dyn FnMut() -> usize)) -> usize {
    // The choices of the next run. After them it takes the first way at each fork.
    let mut choices: Vec<usize> = Vec::new();
    for runs in 1.. {
        let mut forks = 0;
        run(&mut || {
            if forks == choices.len() {
                choices.push(0);
            }
            forks += 1;
            choices[forks - 1]
        });
        choices.truncate(forks);
        // The last fork of which the second way was not tried.
        while choices.last() == Some(&1) {
            choices.pop();
        }
        match choices.last_mut() {
            Some(choice) => *choice = 1,
            None => return runs,
        }
    }
    unreachable!()
}

fn spawn(opened: &Opened, batch: Vec<Delivery>) -> JoinHandle<Appended> {
    let writer = opened.writer.clone();
    tokio::spawn(async move { writer.append(&batch, 1).await.unwrap() })
}

/// Lets the statements pass one at a time until both tasks have ended.
pub(super) async fn pass_in_turns<T>(
    observer: &Connection,
    turnstiles: [&Turnstile; 2],
    tasks: &[JoinHandle<T>; 2],
    is_fork: impl Fn(&str) -> bool,
    mut choose: impl FnMut() -> usize,
) {
    while let Some(at_gate) = settle(observer, turnstiles, tasks).await {
        let minor = at_gate.iter().find(|(_, sql)| !is_fork(sql));
        let next = match (minor, at_gate.len()) {
            (Some((number, _)), _) => *number,
            (None, 1) => *at_gate.keys().next().unwrap(),
            _ => choose(),
        };
        turnstiles[next].release();
    }
}

/// Waits until each task has ended, waits at its gate, or waits for a lock of the other one. Returns the statements at the gates by
/// the number of their task; `None` if both have ended.
async fn settle<T>(
    observer: &Connection,
    turnstiles: [&Turnstile; 2],
    tasks: &[JoinHandle<T>; 2],
) -> Option<BTreeMap<usize, String>> {
    const WAITING: &str = "SELECT count(DISTINCT l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
         WHERE NOT l.granted AND a.datname = current_database()";
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < deadline, "a task neither ends nor waits");
        let mut at_gate = BTreeMap::new();
        let (mut at_server, mut ended) = (0, 0);
        for (number, (turnstile, task)) in turnstiles.iter().zip(tasks).enumerate() {
            // Asked first: a task that has ended sends nothing more.
            let has_ended = task.is_finished();
            match turnstile.at() {
                At::Gate(sql) => drop(at_gate.insert(number, sql)),
                At::Server => at_server += 1,
                At::Itself => ended += usize::from(has_ended),
            }
        }
        if ended == 2 {
            return None;
        }
        if at_gate.len() + at_server + ended == 2 {
            if at_server == 0 {
                return Some(at_gate);
            }
            let waiting: i64 = observer.query_one(WAITING, &[]).await.unwrap().get(0);
            // What was at the server may have been answered meanwhile.
            let is_same = turnstiles
                .iter()
                .filter(|turnstile| turnstile.at() == At::Server)
                .count()
                == at_server;
            if is_same && usize::try_from(waiting) == Ok(at_server) {
                assert!(!at_gate.is_empty(), "the tasks wait for each other");
                return Some(at_gate);
            }
        }
        sleep(Duration::from_micros(200)).await;
    }
}

fn event(topic: u8, id: u8, content: u8) -> Arrival {
    Arrival::Event { topic, id, content }
}

/// Tries all orders of two batches, on one database, and compares the store with the model.
fn all_orders(first: &Batch, second: &Batch, least: usize) {
    let Some(database) = Database::new() else {
        return;
    };
    let mut pair = Pair::new(&database);
    let orders = pair.append_in_each_order([first, second]);
    pair.check();
    eprintln!("{orders} orders");
    assert!(orders >= least, "only {orders} orders");
}

#[test]
fn the_same_identities_in_reversed_orders() {
    let forwards = vec![event(0, 1, 0), event(0, 2, 0), event(1, 1, 0)];
    let backwards = forwards.iter().rev().cloned().collect();
    all_orders(&vec![(0, forwards)], &vec![(1, backwards)], 6);
}

#[test]
fn identities_of_which_some_are_in_both_with_other_contents() {
    let first = vec![event(0, 1, 0), event(0, 2, 0), event(1, 3, 0)];
    let second = vec![
        event(0, 2, 1),
        event(0, 4, 1),
        event(1, 3, 0),
        Arrival::Noise,
    ];
    all_orders(&vec![(0, first)], &vec![(1, second)], 6);
}

#[test]
fn a_message_that_both_receive() {
    let message = vec![event(0, 1, 0), event(0, 1, 1)];
    let other = vec![event(0, 1, 1), event(1, 2, 0)];
    let first = vec![(0, message.clone()), (1, other.clone())];
    let second = vec![(0, message), (2, other)];
    all_orders(&first, &second, 2);
}

#[test]
fn batches_without_common_identities() {
    let first = vec![event(0, 1, 0)];
    let second = vec![event(1, 1, 0)];
    all_orders(&vec![(0, first)], &vec![(1, second)], 20);
}

/// Two batches of which each third message comes to both, and choices.
fn competing() -> impl Strategy<Value = (Batch, Batch, Vec<bool>)> {
    let messages = prop::collection::vec((arrivals(), 0_u8..3), 1..5);
    let choices = prop::collection::vec(any::<bool>(), 64);
    (messages, choices).prop_map(|(messages, choices)| {
        let (mut first, mut second) = (Batch::new(), Batch::new());
        for (number, (arrivals, to)) in (0..).zip(messages) {
            if to != 1 {
                first.push((number, arrivals.clone()));
            }
            if to != 0 {
                second.push((number, arrivals));
            }
        }
        (first, second, choices)
    })
}

#[test]
fn any_two_batches_in_any_order_of_all_their_statements() {
    let Some(database) = Database::new() else {
        return;
    };
    let pair = std::cell::RefCell::new(Pair::new(&database));
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(40)
    };
    proptest!(config, |((first, second, choices) in competing())| {
        let mut choices = choices.into_iter().cycle();
        pair.borrow_mut().append([&first, &second], |_| true, || {
            usize::from(choices.next().unwrap_or_default())
        });
    });
    pair.borrow().check();
}
