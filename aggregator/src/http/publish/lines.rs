//! Newline-delimited JSON: each non-blank line is an element.

use bytes::Bytes;
use serde_json::value::RawValue;
use shared::message::Elements;

use crate::http::{
    edge::problem::Problem,
    openapi::schemas::{schemas, text},
};

schemas! {
    /// Lines of JSON.
    Lines() = text()
        .description(Some("One event per line, as JSON. Blank lines are skipped."))
        .build();
}

/// The elements of a body: the first `most` are kept, all are counted.
///
/// # Errors
/// 400 at the first line that is not JSON.
pub fn elements(body: &Bytes, most: usize) -> Result<Elements, Problem> {
    let mut kept = Vec::new();
    let mut total = 0;
    for (line, number) in body.split(|byte| *byte == b'\n').zip(1..) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let element: &RawValue =
            serde_json::from_slice(line).map_err(|err| Problem::line_not_json(&err, number))?;
        total += 1;
        if kept.len() < most {
            kept.push(body.slice_ref(element.get().as_bytes()));
        }
    }
    Ok(Elements { kept, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_and_carriage_returns_are_not_elements() {
        let body = Bytes::from_static(b"\n{\"a\":1}\r\n \t\r\n  7 \n[2]");
        let Elements { kept, total } = elements(&body, 2).unwrap();
        assert_eq!(kept, ["{\"a\":1}", "7"]);
        assert_eq!(total, 3);
        assert_eq!(elements(&Bytes::new(), 2).unwrap().total, 0);
    }

    #[test]
    fn a_line_holds_exactly_one_complete_value() {
        for wrong in ["{} {}", "{\n}", "[1,\n2]", "\"a"] {
            assert!(elements(&Bytes::from(wrong), 2).is_err(), "{wrong}");
        }
    }
}
