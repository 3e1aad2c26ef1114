//! The benchmarks' traffic: a benchmark with wrong marks of repeats would prove nothing.

#[path = "../benches/support/traffic.rs"]
mod traffic;

use std::collections::{HashMap, HashSet};

use shared::{event::Event, message};
use traffic::{RARE, Recipe, Traffic, topic_names};

const RECIPE: Recipe = Recipe {
    seed: 1,
    topics: 7,
    is_mixed: true,
    duplicates: 0.2,
    rare_in: Some(50),
    first_sequence: 1,
    conflicts_after: None,
};

/// The events of this many messages, each with its mark whether it repeats an earlier one.
fn events(messages: usize) -> Vec<(Event, bool)> {
    let mut traffic = Traffic::new(RECIPE);
    let mut events = Vec::new();
    for _ in 0..messages {
        let message = traffic.message(u64::MAX);
        assert_eq!(message.events.len(), message.repeats.len());
        events.extend(message.events.into_iter().zip(message.repeats));
    }
    events
}

#[test]
fn the_same_recipe_makes_the_same_messages() {
    let mut traffics = [Traffic::new(RECIPE), Traffic::new(RECIPE)];
    for _ in 0..200 {
        let [first, second] = traffics.each_mut().map(|traffic| traffic.message(180));
        assert_eq!(first, second);
    }
}

#[test]
fn marked_events_repeat_earlier_ones_and_others_are_new() {
    let mut sent = HashMap::new();
    let (mut repeated, mut all) = (0, 0);
    for (event, repeats) in events(400) {
        let identity = (event.topic.clone(), event.event_id.clone());
        match sent.get(&identity) {
            Some(earlier) => assert_eq!((earlier, repeats), (&event, true)),
            None => assert!(!repeats, "{identity:?} was not sent before"),
        }
        sent.insert(identity, event);
        repeated += u32::from(repeats);
        all += 1;
    }
    let share = f64::from(repeated) / f64::from(all);
    assert!((0.19..0.21).contains(&share), "{share}");
}

#[test]
fn every_topic_has_events_and_the_rare_one_few() {
    let mut topics = HashMap::<_, u64>::new();
    for (event, _) in events(400) {
        *topics.entry(event.topic.as_str().to_owned()).or_default() += 1;
    }
    assert_eq!(topics.remove(RARE), Some(8));
    let named: HashSet<_> = topic_names(RECIPE.topics).into_iter().collect();
    assert_eq!(topics.into_keys().collect::<HashSet<_>>(), named);
}

#[test]
fn an_event_is_its_own_json_of_about_230_bytes_and_belongs_on_its_subject() {
    for is_mixed in [false, true] {
        let mut traffic = Traffic::new(Recipe { is_mixed, ..RECIPE });
        let message = traffic.message(100);
        let topics: HashSet<_> = message.events.iter().map(|event| &event.topic).collect();
        assert_eq!(topics.len() > 1, is_mixed);
        for event in message.events {
            let json = event.to_json();
            assert!((225..=235).contains(&json.len()), "{}", json.len());
            assert_eq!(message::decode(&message.subject, &json, 0), [Ok(event)]);
        }
    }
}

#[test]
fn conflicts_have_earlier_identities_and_another_source() {
    let mut traffic = Traffic::new(Recipe {
        conflicts_after: Some(5_000),
        rare_in: None,
        ..RECIPE
    });
    let mut made = 0;
    let mut sent = HashMap::new();
    for _ in 0..100 {
        let are_conflicts = made >= 5_000;
        let message = traffic.message(u64::MAX);
        made += message.events.len();
        for event in message.events {
            let identity = (event.topic.clone(), event.event_id.clone());
            if are_conflicts {
                assert_ne!(sent[&identity], event.source);
            } else {
                sent.insert(identity, event.source);
            }
        }
    }
    assert!(made > 6_000, "{made}");
}
