//! Query strings: each parameter known, given once, and valid.

pub mod time;

use percent_encoding::percent_decode_str;
use shared::event::{Code, Topic, Violation};

use super::problem::{ItemErrors, Problem};
use crate::http::openapi::refusals::{problems, refusals};

/// The parameters of a request, all of which its route knows.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the query of a route that knows the parameters `known`.
    ///
    /// # Errors
    /// 422 that names every parameter that is unknown, repeated or not UTF-8.
    pub fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        Self::parse_many(query, known, |_| false)
    }

    /// Like [`Self::parse`], but parameters whose names `is_many` accepts may be given more than once. `known` names them for
    /// error messages.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_many(
        query: Option<&str>,
        known: &[&str],
        is_many: impl Fn(&str) -> bool,
    ) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut errors = Vec::new();
        for pair in query
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name), decode(value));
            let (Some(name), Some(value)) = (&name, value) else {
                let message = "is not UTF-8 when percent-decoded".to_owned();
                let name = name.unwrap_or_default();
                errors.push(Violation::new(Some(&name), Code::WrongType, message));
                continue;
            };
            if is_many(name) {
                pairs.push((name.clone(), value));
            } else if !known.contains(&name.as_str()) {
                let expected = if known.is_empty() {
                    "none is accepted".to_owned()
                } else {
                    format!("expected one of: {}", known.join(", "))
                };
                let message = format!("is not a known parameter; {expected}");
                errors.push(Violation::new(Some(name), Code::Unknown, message));
            } else if pairs.iter().any(|(seen, _)| seen == name) {
                let message = "is given more than once".to_owned();
                errors.push(Violation::new(Some(name), Code::Repeated, message));
            } else {
                pairs.push((name.clone(), value));
            }
        }
        if errors.is_empty() {
            return Ok(Self(pairs));
        }
        let mut items = ItemErrors::default();
        items.add(None, errors);
        Err(Problem::invalid("the query is not valid".to_owned(), items))
    }

    /// The value of a parameter.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str())
    }

    /// All parameters whose names start with `prefix`: the rest of each name, and its value.
    pub fn all<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let pairs = self.0.iter();
        pairs.filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// The parameter `topic`.
    ///
    /// # Errors
    /// 422 if it is not a valid topic.
    pub fn topic(&self) -> Result<Option<Topic>, Problem> {
        self.text("topic").map(topic).transpose()
    }

    /// A parameter that is `true` or `false`, or `default` if it is missing.
    ///
    /// # Errors
    /// 422 if it is neither.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool, Problem> {
        match self.text(name) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => {
                let message = "must be true or false".to_owned();
                Err(Problem::invalid_query(name, Code::OutOfRange, message))
            }
        }
    }

    /// A text that must not be empty.
    ///
    /// # Errors
    /// 422 if it is empty.
    pub fn filled(&self, name: &str) -> Result<Option<String>, Problem> {
        match self.text(name) {
            Some("") => {
                let message = "must not be empty".to_owned();
                Err(Problem::invalid_query(name, Code::Empty, message))
            }
            text => Ok(text.map(str::to_owned)),
        }
    }

    /// The parameter `order`: whether it is `desc`, or `default` if it is missing.
    ///
    /// # Errors
    /// 422 if it is neither `asc` nor `desc`.
    pub fn is_descending(&self, default: bool) -> Result<bool, Problem> {
        match self.text("order") {
            None => Ok(default),
            Some("desc") => Ok(true),
            Some("asc") => Ok(false),
            Some(_) => {
                let message = "must be asc or desc".to_owned();
                Err(Problem::invalid_query("order", Code::OutOfRange, message))
            }
        }
    }

    /// The parameter `limit`: 1 to `most`, or `default` if it is missing.
    ///
    /// # Errors
    /// 422 if it is not such a number.
    pub fn limit(&self, default: usize, most: usize) -> Result<usize, Problem> {
        Ok(self.number("limit", most)?.unwrap_or(default))
    }

    /// A whole number from 1 to `most`.
    ///
    /// # Errors
    /// 422 if it is not such a number.
    pub fn number(&self, name: &str, most: usize) -> Result<Option<usize>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let number = text
            .parse()
            .ok()
            .filter(|number| (1..=most).contains(number));
        number.map(Some).ok_or_else(|| {
            let message = format!("must be a whole number from 1 to {most}");
            Problem::invalid_query(name, Code::OutOfRange, message)
        })
    }
}

/// A topic from a query parameter.
///
/// # Errors
/// 422 if it is not a valid topic.
pub fn topic(text: &str) -> Result<Topic, Problem> {
    Topic::new(text).map_err(|(code, message)| Problem::invalid_query("topic", code, message))
}

/// Percent-decodes a part of a query, in which `+` is a space; `None` if it is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8();
    decoded.ok().map(std::borrow::Cow::into_owned)
}

refusals! {
    /// Of a query of the store without parameters.
    UnpagedRefusals = problems([unknown_parameter(&[]), Problem::store_unreadable()]);

    /// Of a route without parameters that does not depend on the store.
    ParameterRefusals = problems([unknown_parameter(&[])]);
}

/// The error for an unknown parameter, for the OpenAPI document.
pub(in crate::http) fn unknown_parameter(known: &[&str]) -> Problem {
    Query::parse(Some("limits=10"), known).expect_err("limits is not a known parameter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_exactly() {
        let query =
            Query::parse(Some("topic=a%20b%2B+%C3%A4&limit=7"), &["topic", "limit"]).unwrap();
        assert_eq!(query.text("topic"), Some("a b+ ä"));
        assert_eq!(query.limit(1, 10).unwrap(), 7);
    }

    #[test]
    fn unknown_repeated_and_out_of_range_parameters_are_refused() {
        let known = ["topic", "limit"];
        for wrong in ["topics=a", "topic=a&topic=b", "topic=%FF"] {
            assert!(Query::parse(Some(wrong), &known).is_err(), "{wrong}");
        }
        for wrong in ["limit=0", "limit=11", "limit=-1", "limit=", "limit=1.5"] {
            let query = Query::parse(Some(wrong), &known).unwrap();
            assert!(query.limit(1, 10).is_err(), "{wrong}");
        }
        assert!(
            Query::parse(Some("topic="), &known)
                .unwrap()
                .topic()
                .is_err()
        );
    }
}
