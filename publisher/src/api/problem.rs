//! The problem document (RFC 9457) that comes with a refusal, as people are told it.

use std::fmt;

use reqwest::{Response, header::CONTENT_TYPE};
use serde::Deserialize;

/// Longest body that is read for it.
const MOST_BYTES: usize = 256 * 1024;

/// Errors told one by one; the rest is counted.
const TOLD: usize = 5;

/// Why it was refused, as far as it was said. Follows the status when it is shown.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Problem {
    title: String,
    detail: String,
    errors: Vec<Fault>,
    errors_total: usize,
}

/// What is wrong with one part of the question.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Fault {
    field: Option<String>,
    message: String,
}

/// What the answer says of the problem, or none where it holds no problem document.
pub async fn read(mut answer: Response) -> Option<Problem> {
    let kind = answer.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    if !kind.starts_with("application/problem+json") {
        return None;
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > MOST_BYTES {
            return None;
        }
    }
    serde_json::from_slice(&body).ok()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.title, &self.detail] {
            if !part.is_empty() {
                write!(f, ": {part}")?;
            }
        }
        for fault in self.errors.iter().take(TOLD) {
            f.write_str("\n  ")?;
            if let Some(field) = &fault.field {
                write!(f, "{field}: ")?;
            }
            f.write_str(&fault.message)?;
        }
        let all = self.errors.len().max(self.errors_total);
        if all > TOLD {
            write!(f, "\n  and {} more", all - TOLD)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(json: &str) -> String {
        serde_json::from_str::<Problem>(json).unwrap().to_string()
    }

    #[test]
    fn a_problem_is_told_with_its_errors_a_line_each() {
        assert_eq!(
            told(
                r#"{"type":"urn:problem:invalid","title":"Not valid","status":422,"detail":"the query is not valid",
                "errors":[{"index":null,"field":"limit","code":"out_of_range","message":"must be 1 or more"},
                {"message":"is too much"}],"errors_total":2}"#
            ),
            ": Not valid: the query is not valid\n  limit: must be 1 or more\n  is too much"
        );
    }

    #[test]
    fn many_errors_are_counted_and_what_is_left_out_is_not_told() {
        let errors = [r#"{"field":"a","message":"b"}"#; 7].join(",");
        let all = told(&format!(r#"{{"errors":[{errors}],"errors_total":107}}"#));
        assert_eq!(all.lines().count(), 1 + TOLD + 1);
        assert!(all.ends_with("and 102 more"), "{all}");
        assert_eq!(told("{}"), "");
    }
}
