//! The tokens file: every accepted token has a valid name of its own and is found by its hash, its patterns are those that their
//! text says, and a refusal never quotes a token.

#![no_main]

use aggregator::access::{Pattern, Patterns, Secret, Tokens};
use libfuzzer_sys::fuzz_target;

/// The length of a token.
const LENGTH: usize = 53;

/// The tokens in a text.
fn secrets(text: &str) -> impl Iterator<Item = &str> {
    let places = text.match_indices("agg_").map(|(at, _)| at);
    places.filter_map(|at| {
        let token = text.get(at..at + LENGTH)?;
        Secret::parse(token).map(|_| token)
    })
}

fn check(patterns: &Patterns) {
    let parsed = patterns.texts().map(|text| Pattern::parse(&text).unwrap());
    assert_eq!(&Patterns::from_iter(parsed), patterns);
}

fuzz_target!(|text: &str| {
    let tokens = match Tokens::parse(text) {
        Ok(tokens) => tokens,
        Err(reason) => {
            assert!(
                secrets(text).all(|secret| !reason.contains(secret)),
                "{reason}"
            );
            return;
        }
    };
    let mut names: Vec<_> = tokens
        .entries()
        .iter()
        .map(|grant| grant.name.clone())
        .collect();
    for grant in tokens.entries() {
        let name = grant.name.as_deref().unwrap();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        assert!(
            (1..=64).contains(&name.len()) && name.bytes().all(is_plain),
            "{name}"
        );
        assert!(!name.starts_with("agg_"), "{name}");
        let found = tokens.find(grant.sha256.as_ref().unwrap()).unwrap();
        assert_eq!(found.name, grant.name);
        check(&grant.publish);
        check(&grant.read);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), tokens.entries().len());
});
