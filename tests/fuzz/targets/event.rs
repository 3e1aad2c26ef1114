//! The event parser: it never panics, accepts exactly what a parser derived by serde and the rules accept, and
//! returns events unchanged.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::event::{Event, MAX_DEPTH, MAX_EVENT_BYTES, MAX_NAME_BYTES, MAX_VIOLATIONS, Timestamp};

/// The same five fields, parsed by serde's derived implementation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Derived<'a> {
    topic: String,
    event_id: String,
    timestamp: String,
    source: String,
    #[serde(borrow)]
    payload: &'a RawValue,
}

impl<'a> Derived<'a> {
    fn parse(json: &'a [u8]) -> Option<Self> {
        let event: Self = serde_json::from_slice(json).ok()?;
        let names = [&event.topic, &event.event_id, &event.source];
        let follows_the_rules = json.first() == Some(&b'{')
            && json.len() <= MAX_EVENT_BYTES
            && names
                .iter()
                .all(|name| (1..=MAX_NAME_BYTES).contains(&name.len()))
            && Timestamp::new(&event.timestamp).is_ok()
            && event.payload.get().starts_with('{')
            && depth(event.payload.get()) <= MAX_DEPTH;
        follows_the_rules.then_some(event)
    }
}

/// Levels of valid JSON, by its characters.
fn depth(json: &str) -> usize {
    let (mut open, mut deepest, mut is_string, mut is_escaped) = (0usize, 0, false, false);
    for char in json.chars() {
        if is_string {
            is_string = is_escaped || char != '"';
            is_escaped = !is_escaped && char == '\\';
            continue;
        }
        match char {
            '"' => is_string = true,
            '{' | '[' => open += 1,
            '}' | ']' => open -= 1,
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

fuzz_target!(|data: &[u8]| {
    let json = Bytes::copy_from_slice(data);
    match (Event::parse(&json), Derived::parse(data)) {
        (Ok(event), Some(derived)) => {
            assert_eq!(event.topic.as_str(), derived.topic);
            assert_eq!(event.event_id.as_str(), derived.event_id);
            assert_eq!(event.timestamp.as_str(), derived.timestamp);
            assert_eq!(event.source.as_str(), derived.source);
            assert_eq!(event.payload.as_str(), derived.payload.get());
            assert_eq!(Event::parse(&event.to_json()).as_ref(), Ok(&event));
        }
        (Err(violations), None) => {
            assert!((1..=MAX_VIOLATIONS).contains(&violations.len()));
        }
        (parsed, derived) => panic!("{parsed:?}, but derived: {}", derived.is_some()),
    }
});
