//! The message decoder: it never panics, its arrivals are bounded by its bytes, and the single pass over a whole
//! array decides about every element as if it were decoded by itself. The input's first line is the subject, the rest
//! is the body.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shared::{
    message::{Arrivals, MAX_ELEMENTS, decode, elements, encode, wrapped},
    subject,
};

/// Maximum number of elements that are decoded one by one; more only take time.
const FEW: usize = 200;

fuzz_target!(|data: &[u8]| {
    let split = data.iter().position(|byte| *byte == b'\n');
    let (head, body) = data.split_at(split.map_or(0, |at| at + 1));
    let Ok(head) = std::str::from_utf8(head) else {
        return;
    };
    let (on, body) = (head.trim_end_matches('\n'), Bytes::copy_from_slice(body));
    let arrivals = decode(on, &body, 0);
    check_bounds(&arrivals, &body);
    for event in arrivals.iter().flatten() {
        assert!(on == subject::MIXED || on == subject::of(&event.topic));
    }
    check_alone(on, &body, &arrivals);
    check_encoded(on, &arrivals);
    for most in [0, 2] {
        if let Ok(Some(found)) = wrapped(&body, most) {
            assert!(found.kept.len() <= most && found.kept.len() <= found.total);
        }
    }
});

fn check_bounds(arrivals: &Arrivals, body: &Bytes) {
    // An element and its comma have two bytes at least.
    assert!((1..=MAX_ELEMENTS.min(1 + body.len() / 2)).contains(&arrivals.len()));
    let kept: usize = arrivals
        .iter()
        .map(|arrival| match arrival {
            Ok(event) => event.payload.as_bytes().len(),
            Err(rejection) => {
                assert!(rejection.detail.len() < 10_000);
                rejection.body.len()
            }
        })
        .sum();
    assert!(kept <= body.len());
}

/// Decodes each element again, next to an invalid one that prevents the single pass.
fn check_alone(on: &str, body: &Bytes, arrivals: &Arrivals) {
    let Ok(found) = elements(body, MAX_ELEMENTS) else {
        return;
    };
    assert!(found.kept.len() <= found.total);
    if !(1..=FEW).contains(&found.total) {
        return;
    }
    let alone = found.kept.iter().flat_map(|element| {
        let pair = encode([&Bytes::from_static(b"0"), element], 0);
        let mut arrivals = decode(on, &pair, 0);
        assert_eq!(arrivals.len(), 2);
        arrivals.pop()
    });
    assert_eq!(arrivals, &alone.collect::<Arrivals>());
}

/// The events, encoded again, are the same events.
fn check_encoded(on: &str, arrivals: &Arrivals) {
    let events: Arrivals = arrivals
        .iter()
        .filter(|arrival| arrival.is_ok())
        .cloned()
        .collect();
    if !events.is_empty() {
        let written: Vec<_> = events
            .iter()
            .flatten()
            .map(shared::event::Event::to_json)
            .collect();
        assert_eq!(decode(on, &encode(&written, 0), 0), events);
    }
}
