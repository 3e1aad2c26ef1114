//! Property tests of the store against the model, with deliveries, redeliveries, failures and restarts.

use proptest::prelude::*;

use super::{
    harness::{Arrival, Failure, Store, break_writes, delivery, mixed_delivery, repair_writes},
    model::{Model, check, totals},
};
use crate::store::Delivery;

#[derive(Debug, Clone)]
enum FaultPoint {
    /// Consecutive messages, and how many of the preceding ones are redelivered with them.
    Append(Vec<Message>, usize),
    /// The same, but the first write fails.
    Fail(Failure, Vec<Message>),
    Restart,
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

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let event = (0u8..2, 0u8..6, 0u8..2).prop_map(|(topic, id, content)| Arrival::Event {
        topic,
        id,
        content,
    });
    let arrival = prop_oneof![9 => event, 1 => Just(Arrival::Noise)];
    prop::collection::vec(arrival, 1..5)
}

fn step() -> impl Strategy<Value = FaultPoint> {
    let messages = || prop::collection::vec((arrivals(), any::<bool>()), 1..4);
    let failure = prop_oneof![Just(Failure::Middle), Just(Failure::Commit)];
    prop_oneof![
        6 => (messages(), 0usize..4).prop_map(|(messages, again)| FaultPoint::Append(messages, again)),
        2 => (failure, messages()).prop_map(|(failure, messages)| FaultPoint::Fail(failure, messages)),
        1 => Just(FaultPoint::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_store_matches_the_model_after_any_steps(steps in prop::collection::vec(step(), 1..12)) {
        let mut store = Store::new();
        let mut model = Model::default();
        let mut sent: Vec<Message> = Vec::new();
        store.meet(1, 1, 0);
        for step in steps {
            match step {
                FaultPoint::Append(messages, again) => {
                    let from = sent.len().saturating_sub(again);
                    sent.extend(messages);
                    let mut batch = Vec::new();
                    for (message, sequence) in sent.iter().zip(1..).skip(from) {
                        batch.push(deliver(sequence, message));
                        model.append_on(sequence, &message.0, message.1);
                    }
                    store.append(&batch).unwrap();
                }
                FaultPoint::Fail(failure, messages) => {
                    let before = totals(&store);
                    let batch: Vec<_> = messages.iter().zip(sent.len() as u64 + 1..)
                        .map(|(message, sequence)| deliver(sequence, message)).collect();
                    break_writes(&store.raw_connection(), failure);
                    prop_assert!(store.append(&batch).is_err());
                    prop_assert_eq!(totals(&store), before);
                    repair_writes(&store.raw_connection());
                    for (message, sequence) in messages.into_iter().zip(sent.len() as u64 + 1..) {
                        model.append_on(sequence, &message.0, message.1);
                        sent.push(message);
                    }
                    store.append(&batch).unwrap();
                }
                FaultPoint::Restart => {
                    store.reopen();
                    let floor = store.meet(1, 1, sent.len() as u64);
                    prop_assert_eq!(floor, sent.len() as u64);
                }
            }
            check(&store, &model);
        }
    }
}
