//! The query parameters: accepts exactly what the URL standard's own parser reads, if each parameter is known and
//! given once; anything else is answered with 422.

#![no_main]

use aggregator::http::query::Query;
use axum::{http::StatusCode, response::IntoResponse};
use libfuzzer_sys::fuzz_target;

const KNOWN: [&str; 3] = ["topic", "limit", "cursor"];

fuzz_target!(|text: &str| {
    let query = match Query::parse(Some(text), &KNOWN) {
        Ok(query) => query,
        Err(problem) => {
            assert_eq!(
                problem.into_response().status(),
                StatusCode::UNPROCESSABLE_ENTITY
            );
            return;
        }
    };
    let read: Vec<_> = form_urlencoded::parse(text.as_bytes()).collect();
    for (name, value) in &read {
        assert!(KNOWN.contains(&name.as_ref()));
        assert_eq!(query.text(name), Some(value.as_ref()));
        assert_eq!(read.iter().filter(|(other, _)| other == name).count(), 1);
    }
    for name in KNOWN {
        let is_read = read.iter().any(|(read, _)| read == name);
        assert_eq!(query.text(name).is_some(), is_read);
    }
    if let Ok(limit) = query.limit(100, 1_000) {
        assert!((1..=1_000).contains(&limit));
    }
    if let Ok(topic) = query.topic() {
        assert_eq!(
            topic.as_ref().map(shared::event::Topic::as_str),
            query.text("topic")
        );
    }
});
