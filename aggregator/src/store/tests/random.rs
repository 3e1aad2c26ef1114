//! Property tests of the store against the model, with deliveries, redeliveries, failures and restarts.

use proptest::prelude::*;

use super::{
    arrivals::{Arrival, delivery, mixed_delivery},
    engine::{Failure, Store},
    model::{Model, check, totals},
};
use crate::store::{Bounds, Delivery};

#[derive(Debug, Clone)]
enum Step {
    /// Consecutive messages, and how many of the preceding ones are redelivered with them.
    Append(Vec<Message>, usize),
    /// The same, but the first write fails.
    Fail(Failure, Vec<Message>),
    Restart,
    /// The upkeep, which runs in addition to the batches.
    Upkeep,
}

/// Arrivals, and whether their message may hold events of any topics.
type Message = (Vec<Arrival>, bool);

fn deliver(sequence: u64, (arrivals, is_mixed): &Message) -> Delivery {
    if *is_mixed {
        mixed_delivery(sequence, arrivals)
    } else {
        delivery(sequence, arrivals)
    }
}

pub fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let event = (0u8..2, 0u8..6, 0u8..2).prop_map(|(topic, id, content)| Arrival::Event {
        topic,
        id,
        content,
    });
    let arrival = prop_oneof![9 => event, 1 => Just(Arrival::Noise)];
    prop::collection::vec(arrival, 1..5)
}

fn step() -> impl Strategy<Value = Step> {
    let messages = || prop::collection::vec((arrivals(), any::<bool>()), 1..4);
    let failure = prop_oneof![Just(Failure::Middle), Just(Failure::Commit)];
    prop_oneof![
        6 => (messages(), 0usize..4).prop_map(|(messages, again)| Step::Append(messages, again)),
        2 => (failure, messages()).prop_map(|(failure, messages)| Step::Fail(failure, messages)),
        1 => Just(Step::Restart),
        1 => Just(Step::Upkeep),
    ]
}

/// Runs the steps on a store and on the model, and compares them after each.
fn run(mut store: Store, steps: Vec<Step>) {
    let mut model = Model::default();
    let mut sent: Vec<Message> = Vec::new();
    store.meet_up_to(0);
    for step in steps {
        match step {
            Step::Append(messages, again) => {
                let from = sent.len().saturating_sub(again);
                sent.extend(messages);
                let mut batch = Vec::new();
                for (message, sequence) in sent.iter().zip(1..).skip(from) {
                    batch.push(deliver(sequence, message));
                    model.append_on(sequence, &message.0, message.1);
                }
                store.append(&batch).unwrap();
            }
            Step::Fail(failure, messages) => {
                let before = totals(&store.stats());
                let numbered = messages.iter().zip(sent.len() as u64 + 1..);
                let batch: Vec<_> = numbered
                    .map(|(message, sequence)| deliver(sequence, message))
                    .collect();
                store.break_writes(failure);
                store.append(&batch).unwrap_err();
                assert_eq!(totals(&store.stats()), before);
                store.repair_writes();
                for (message, sequence) in messages.into_iter().zip(sent.len() as u64 + 1..) {
                    model.append_on(sequence, &message.0, message.1);
                    sent.push(message);
                }
                store.append(&batch).unwrap();
            }
            Step::Restart => {
                store.reopen();
                assert_eq!(store.meet_up_to(sent.len() as u64), sent.len() as u64);
            }
            Step::Upkeep => store.upkeep(),
        }
        check(&store.runtime, store.reader(), &model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_directory_matches_the_model_after_any_steps(steps in prop::collection::vec(step(), 1..12)) {
        run(Store::sqlite(Bounds::default()), steps);
    }
}

proptest! {
    // Each case makes a database.
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn a_database_matches_the_model_after_any_steps(steps in prop::collection::vec(step(), 1..12)) {
        if let Some(store) = Store::postgres(Bounds::default()) {
            run(store, steps);
        }
    }
}
