//! The subject mapping: every topic maps to a legal subject and back; any text taken as a subject has a topic only if
//! that topic maps to exactly this subject.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::{event::Topic, subject};

/// The rule of nats-server for published subjects, restricted to ASCII: no empty token, no wildcard, no white space or
/// control character.
fn is_legal(subject: &str) -> bool {
    subject.split('.').all(|token| {
        let is_legal = |byte: u8| byte.is_ascii_graphic() && byte != b'*' && byte != b'>';
        !token.is_empty() && token.bytes().all(is_legal)
    })
}

fuzz_target!(|text: &str| {
    if let Ok(topic) = Topic::new(text) {
        let subject = subject::of(&topic);
        assert!(is_legal(&subject) && subject.len() <= 772, "{subject:?}");
        assert_eq!(subject::topic(&subject), Some(topic));
    }
    for subject in [text.to_owned(), format!("{}{text}", subject::PREFIX)] {
        if let Some(topic) = subject::topic(&subject) {
            assert_eq!(subject::of(&topic), subject);
        }
    }
});
