//! Patterns of topics: those of NATS subjects, on the dots of the topic, and exact names in quotes.

use std::{collections::HashSet, fmt};

use shared::event::Topic;

/// A set of topics.
///
/// `*` is any one part of a topic between dots, and `>` at the end one or more of them. `*` alone is, as `>` is, every
/// topic. A name in quotes is exactly that topic, whatever characters it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Every,
    Exact(String),
    /// Has a wildcard.
    Parts {
        parts: Vec<Part>,
        /// Whether any further parts follow, at least one.
        has_rest: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Any,
    Exactly(String),
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a pattern of topics: {reason}")]
pub struct WrongPattern {
    pattern: String,
    reason: String,
}

/// The topics in which all those of a pattern are found, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    /// The topic with this name.
    One(String),
    /// The topics whose names begin with this text.
    Beginning(String),
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`WrongPattern`].
    pub fn parse(text: &str) -> Result<Self, WrongPattern> {
        parse(text).map(Self).map_err(|reason| WrongPattern {
            pattern: text.to_owned(),
            reason,
        })
    }

    /// Whether a topic is in the set.
    #[must_use]
    pub fn includes(&self, topic: &str) -> bool {
        let (parts, has_rest) = match &self.0 {
            Kind::Every => return true,
            Kind::Exact(name) => return name == topic,
            Kind::Parts { parts, has_rest } => (parts, *has_rest),
        };
        let mut of_topic = topic.split('.');
        let begins = parts.iter().all(|part| match (part, of_topic.next()) {
            (_, None) => false,
            (Part::Any, Some(_)) => true,
            (Part::Exactly(text), Some(given)) => text == given,
        });
        begins && of_topic.next().is_some() == has_rest
    }

    /// Where its topics are found among all.
    #[must_use]
    pub fn span(&self) -> Span {
        match &self.0 {
            Kind::Every => Span::Beginning(String::new()),
            Kind::Exact(name) => Span::One(name.clone()),
            Kind::Parts { parts, .. } => {
                let mut beginning = String::new();
                for part in parts {
                    let Part::Exactly(text) = part else { break };
                    beginning.push_str(text);
                    beginning.push('.');
                }
                Span::Beginning(beginning)
            }
        }
    }
}

fn parse(text: &str) -> Result<Kind, String> {
    if let Some(rest) = text.strip_prefix('"') {
        let name = rest
            .strip_suffix('"')
            .ok_or("the quote at its end is missing")?;
        let topic = Topic::new(name).map_err(|(_, message)| format!("a topic {message}"))?;
        return Ok(Kind::Exact(topic.to_string()));
    }
    if text == "*" || text == ">" {
        return Ok(Kind::Every);
    }
    let is_plain =
        |character: char| !character.is_whitespace() && !character.is_control() && character != '"';
    if !text.chars().all(is_plain) {
        return Err("put a name with white space or quotes in quotes".to_owned());
    }
    let (parts, has_rest) = match text.strip_suffix(".>") {
        Some(beginning) => (beginning, true),
        None => (text, false),
    };
    let parts = parts.split('.').map(part).collect::<Result<Vec<_>, _>>()?;
    if !has_rest && !parts.contains(&Part::Any) {
        let topic = Topic::new(text).map_err(|(_, message)| format!("a topic {message}"))?;
        return Ok(Kind::Exact(topic.to_string()));
    }
    Ok(Kind::Parts { parts, has_rest })
}

fn part(text: &str) -> Result<Part, String> {
    match text {
        "*" => Ok(Part::Any),
        "" => Err("a part between dots is empty; put an exact name in quotes".to_owned()),
        other if other.contains(['*', '>']) => Err(
            "* is a whole part between dots, and > the last one; put an exact name in quotes"
                .to_owned(),
        ),
        other => Ok(Part::Exactly(other.to_owned())),
    }
}

/// As it is parsed.
impl fmt::Display for Pattern {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Every => to.write_str("*"),
            Kind::Exact(name) if !name.contains(',') && parse(name) == Ok(self.0.clone()) => {
                to.write_str(name)
            }
            Kind::Exact(name) => write!(to, "\"{name}\""),
            Kind::Parts { parts, has_rest } => {
                for (index, part) in parts.iter().enumerate() {
                    let dot = if index > 0 { "." } else { "" };
                    let text = match part {
                        Part::Any => "*",
                        Part::Exactly(text) => text,
                    };
                    write!(to, "{dot}{text}")?;
                }
                to.write_str(if *has_rest { ".>" } else { "" })
            }
        }
    }
}

/// The topics of any of several patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    all: Vec<Pattern>,
    /// The exact names among them, which can be thousands.
    names: HashSet<String>,
    /// The others.
    wild: Vec<Pattern>,
}

impl Patterns {
    /// Every topic.
    #[must_use]
    pub fn every() -> Self {
        Self::from_iter([Pattern(Kind::Every)])
    }

    /// Parses patterns that are separated by commas. A comma within a quoted name separates nothing.
    ///
    /// # Errors
    /// [`WrongPattern`].
    pub fn parse(text: &str) -> Result<Self, WrongPattern> {
        let mut found = Vec::new();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let comma = match text.strip_prefix('"') {
                // The quote before a comma ends the name.
                Some(name) => name.find("\",").map(|at| at + 2),
                None => text.find(','),
            };
            let (pattern, after) = comma.map_or((text, None), |comma| {
                (&text[..comma], Some(&text[comma + 1..]))
            });
            found.push(Pattern::parse(pattern)?);
            rest = after;
        }
        Ok(Self::from_iter(found))
    }

    /// Whether there is no topic in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether every topic is in the set.
    #[must_use]
    pub fn is_every(&self) -> bool {
        self.wild.iter().any(|pattern| pattern.0 == Kind::Every)
    }

    /// Whether a topic is in the set.
    #[must_use]
    pub fn includes(&self, topic: &str) -> bool {
        self.names.contains(topic) || self.wild.iter().any(|pattern| pattern.includes(topic))
    }

    /// The patterns, each as it is parsed.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.all.iter().map(Pattern::to_string)
    }

    /// Where its topics are found among all: spans in the order of names that have no topic in common.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<_> = self.all.iter().map(Pattern::span).collect();
        // A beginning sorts before all names with it, unless one of them is a name alone.
        spans.sort_unstable_by(|one, other| {
            (one.text(), one.is_one()).cmp(&(other.text(), other.is_one()))
        });
        spans.dedup_by(|next, kept| match kept {
            Span::Beginning(beginning) => next.text().starts_with(beginning.as_str()),
            Span::One(_) => next == kept,
        });
        spans
    }
}

impl Span {
    fn text(&self) -> &str {
        match self {
            Self::One(text) | Self::Beginning(text) => text,
        }
    }

    fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }
}

impl IntoIterator for Patterns {
    type Item = Pattern;
    type IntoIter = std::vec::IntoIter<Pattern>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}

impl FromIterator<Pattern> for Patterns {
    fn from_iter<T: IntoIterator<Item = Pattern>>(patterns: T) -> Self {
        let mut collected = Self::default();
        for pattern in patterns {
            match &pattern.0 {
                Kind::Exact(name) => {
                    collected.names.insert(name.clone());
                }
                Kind::Every | Kind::Parts { .. } => collected.wild.push(pattern.clone()),
            }
            collected.all.push(pattern);
        }
        collected
    }
}

/// Separated by commas.
impl fmt::Display for Patterns {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pattern) in self.all.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(to, "{comma}{pattern}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn includes(pattern: &str, topic: &str) -> bool {
        Pattern::parse(pattern).unwrap().includes(topic)
    }

    #[test]
    fn wildcards_match_as_in_nats_and_a_single_one_matches_everything() {
        for (pattern, topic, expected) in [
            ("orders.*", "orders.eu", true),
            ("orders.*", "orders", false),
            ("orders.*", "orders.eu.paid", false),
            ("orders.*", "Orders.eu", false),
            ("orders.>", "orders.eu", true),
            ("orders.>", "orders.eu.paid", true),
            ("orders.>", "orders", false),
            ("orders.>", "ordersx.eu", false),
            ("*.errors", "a.errors", true),
            ("*.errors", "a.b.errors", false),
            ("*.*", "a.b", true),
            ("*.*", "a", false),
            ("*.>", "a", false),
            ("*.>", "a.b.c", true),
            ("*", "a", true),
            ("*", "a.b.c", true),
            (">", "a.b.c", true),
            ("orders", "orders", true),
            ("orders", "orders.eu", false),
            ("\"orders.*\"", "orders.*", true),
            ("\"orders.*\"", "orders.eu", false),
            ("\"a \"b\" >\"", "a \"b\" >", true),
            ("\"a..b\"", "a..b", true),
        ] {
            assert_eq!(includes(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let long = "a".repeat(256);
        for wrong in [
            "", ".", "a..b", ".a", "a.", "a*", "a.b>", ">.a", "a.>.b", "a b", "a\tb", "\"", "\"a",
            "a\"", "\"\"", ".>", &long,
        ] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn commas_separate_patterns_but_not_within_quotes() {
        for (text, expected) in [
            ("a", &["a"][..]),
            ("a.*,b,c.>", &["a.*", "b", "c.>"]),
            ("\"a,b\"", &["\"a,b\""]),
            ("\"a,b c\",d,\",\"", &["\"a,b c\"", "d", "\",\""]),
        ] {
            let patterns = Patterns::parse(text).unwrap();
            // A name with a comma needs no quotes by itself.
            let parse = |text: &&str| Pattern::parse(text).unwrap();
            let expected: Patterns = expected.iter().map(parse).collect();
            assert_eq!(patterns, expected, "{text}");
        }
        for wrong in ["", "a,", ",a", "a,,b", "\"a,b", "\"a\"b,c"] {
            assert!(Patterns::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_are_in_order_and_have_nothing_in_common() {
        let patterns: Patterns = ["b.*", "a.>", "a.x.*", "a", "\"a.x\"", "b.*", "c"]
            .map(|text| Pattern::parse(text).unwrap())
            .into_iter()
            .collect();
        let one = |text: &str| Span::One(text.to_owned());
        let beginning = |text: &str| Span::Beginning(text.to_owned());
        let expected = [one("a"), beginning("a."), beginning("b."), one("c")];
        assert_eq!(patterns.spans(), expected);
        assert_eq!(Patterns::every().spans(), [beginning("")]);
    }

    /// Matches by recursion over the parts, without what the implementation shares between patterns.
    fn naive(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern, topic) {
            ([], []) | ([">"], [_, ..]) => true,
            (["*", pattern @ ..], [_, topic @ ..]) => naive(pattern, topic),
            ([first, pattern @ ..], [same, topic @ ..]) if first == same => naive(pattern, topic),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_as_a_naive_model_does(
            pattern in "(\\*|a|b|ab)(\\.(\\*|a|b|ab)){0,3}(\\.>)?",
            topic in "(a|b|ab)(\\.(a|b|ab|\\*)){0,4}",
        ) {
            let parts: Vec<_> = pattern.split('.').collect();
            let of_topic: Vec<_> = topic.split('.').collect();
            let expected = pattern == "*" || naive(&parts, &of_topic);
            prop_assert_eq!(includes(&pattern, &topic), expected);
        }

        #[test]
        fn a_topic_is_in_the_spans_of_patterns_that_include_it(
            patterns in prop::collection::vec("(\\*|a|b|\"a\\.b\")(\\.(\\*|a|b)){0,2}(\\.>)?|>|\"a.{0,3}\"", 0..5),
            topic in "(a|b)(\\.?(a|b)){0,4}",
        ) {
            let patterns: Patterns = patterns.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
            let spans = patterns.spans();
            let found = spans.iter().filter(|span| match span {
                Span::One(name) => *name == topic,
                Span::Beginning(text) => topic.starts_with(text.as_str()),
            });
            let found = found.count();
            prop_assert!(found <= 1, "{:?}", spans);
            prop_assert!(found == 1 || !patterns.includes(&topic));
            prop_assert!(spans.windows(2).all(|two| two[0].text() <= two[1].text()));
        }

        #[test]
        fn a_pattern_is_written_as_it_is_parsed(text in "\"?[ab.*> \"]{1,8}\"?") {
            if let Ok(pattern) = Pattern::parse(&text) {
                prop_assert_eq!(Pattern::parse(&pattern.to_string()).unwrap(), pattern);
            }
        }
    }
}
