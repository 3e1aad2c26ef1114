//! Patterns of topics: a pattern includes the topics that a naive model includes, has them in its spans, and is parsed again from
//! its own text.

#![no_main]

use aggregator::access::{Pattern, Patterns, Span};
use libfuzzer_sys::fuzz_target;

/// Whether a valid pattern includes a topic.
fn includes(pattern: &str, topic: &str) -> bool {
    if let Some(name) = pattern.strip_prefix('"') {
        return name.strip_suffix('"') == Some(topic);
    }
    let parts = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    pattern == "*" || matches(&parts(pattern), &parts(topic))
}

fn matches(pattern: &[String], topic: &[String]) -> bool {
    match (pattern, topic) {
        ([], []) => true,
        ([last], [_, ..]) if last == ">" => true,
        ([first, pattern @ ..], [part, topic @ ..]) => {
            (first == "*" || first == part) && matches(pattern, topic)
        }
        _ => false,
    }
}

fn is_in(span: &Span, topic: &str) -> bool {
    match span {
        Span::One(name) => name == topic,
        Span::Beginning(beginning) => topic.starts_with(beginning),
    }
}

fuzz_target!(|text: &str| {
    let (given, topic) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(pattern) = Pattern::parse(given) {
        assert_eq!(
            pattern.includes(topic),
            includes(given, topic),
            "{given:?} {topic:?}"
        );
        assert!(!pattern.includes(topic) || is_in(&pattern.span(), topic));
        assert_eq!(Pattern::parse(&pattern.to_string()).as_ref(), Ok(&pattern));
    }
    if let Ok(patterns) = Patterns::parse(given) {
        let mut each = patterns.clone().into_iter();
        assert_eq!(
            patterns.includes(topic),
            each.any(|pattern| pattern.includes(topic))
        );
        let spans = patterns.spans();
        let found = spans.iter().filter(|span| is_in(span, topic)).count();
        assert!(found <= 1 && (found == 1 || !patterns.includes(topic)));
    }
});
