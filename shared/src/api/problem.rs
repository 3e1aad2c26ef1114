//! The problem document (RFC 9457) of a refusal, as text.

use std::fmt;

use reqwest::{Response, header::CONTENT_TYPE};
use serde::Deserialize;

/// Maximum body size of a problem document.
const MAX_BYTES: usize = 256 * 1024;

/// Maximum errors listed; the rest is counted.
const MAX_ERRORS: usize = 5;

/// Why a request was refused, as a sentence, and one line for each further error.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Problem {
    title: String,
    detail: String,
    errors: Vec<FieldError>,
    errors_total: usize,
}

/// An error in one part of the request.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct FieldError {
    field: Option<String>,
    message: String,
}

/// Reads the problem document of an answer; `None` if it has none.
pub async fn read(mut answer: Response) -> Option<Problem> {
    let media_type = answer.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    if !media_type.starts_with("application/problem+json") {
        return None;
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BYTES {
            return None;
        }
    }
    serde_json::from_slice(&body).ok()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.detail.is_empty() {
            &self.title
        } else {
            &self.detail
        })?;
        // The detail of a single error contains its message.
        let errors: Vec<_> = self
            .errors
            .iter()
            .filter(|error| !self.detail.contains(&error.message))
            .collect();
        for error in errors.iter().take(MAX_ERRORS) {
            f.write_str("\n  ")?;
            if let Some(field) = &error.field {
                write!(f, "{field} ")?;
            }
            f.write_str(&error.message)?;
        }
        let all = errors.len().max(self.errors_total);
        if all > MAX_ERRORS {
            write!(f, "\n  and {} more", all - MAX_ERRORS)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        serde_json::from_str::<Problem>(json).unwrap().to_string()
    }

    #[test]
    fn a_problem_lists_its_errors_one_per_line() {
        assert_eq!(
            text(
                r#"{"type":"urn:problem:invalid","title":"Not valid","status":422,"detail":"the query is not valid",
                "errors":[{"field":"limit","code":"out_of_range","message":"must be 1 or more"},
                {"message":"is too much"}],"errors_total":2}"#
            ),
            "the query is not valid\n  limit must be 1 or more\n  is too much"
        );
    }

    #[test]
    fn an_error_that_the_detail_contains_is_not_repeated() {
        assert_eq!(
            text(
                r#"{"title":"Not valid","detail":"the query parameter limit must be 1 or more",
                "errors":[{"field":"limit","message":"must be 1 or more"}],"errors_total":1}"#
            ),
            "the query parameter limit must be 1 or more"
        );
        assert_eq!(text(r#"{"title":"Not found"}"#), "Not found");
    }

    #[test]
    fn only_the_first_errors_are_listed_and_the_rest_is_counted() {
        let errors = [r#"{"field":"a","message":"b"}"#; 7].join(",");
        let all = text(&format!(r#"{{"errors":[{errors}],"errors_total":107}}"#));
        assert_eq!(all.lines().count(), 1 + MAX_ERRORS + 1);
        assert!(all.ends_with("and 102 more"), "{all}");
    }
}
