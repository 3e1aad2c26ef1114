//! JSON as text: on one line, or indented. Strings and numbers are copied, never parsed and printed again, so a payload
//! keeps its bytes.

use super::Format;

/// Appends a document in a format; a table of a single document is its indented form.
pub fn document(json: &str, format: Format, to: &mut Vec<u8>) {
    match format {
        Format::Json => line(json, to),
        Format::Pretty | Format::Table => {
            indented(json, "", to);
            to.push(b'\n');
        }
    }
}

/// Appends JSON as one line: line breaks between its tokens become spaces, which mean the same.
pub fn line(json: &str, to: &mut Vec<u8>) {
    let bytes = json.trim().bytes();
    to.extend(bytes.map(|byte| {
        if matches!(byte, b'\r' | b'\n') {
            b' '
        } else {
            byte
        }
    }));
    to.push(b'\n');
}

/// Appends JSON with each member and item on a line of its own, every line after the first behind `margin`.
pub fn indented(json: &str, margin: &str, to: &mut Vec<u8>) {
    let mut depth = 0;
    let mut tokens = Tokens(json).peekable();
    while let Some(token) = tokens.next() {
        match token {
            "{" | "[" => {
                to.extend_from_slice(token.as_bytes());
                if let Some(end) = tokens.next_if(|next| matches!(*next, "}" | "]")) {
                    to.extend_from_slice(end.as_bytes());
                } else {
                    depth += 1;
                    new_line(margin, depth, to);
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                new_line(margin, depth, to);
                to.extend_from_slice(token.as_bytes());
            }
            "," => {
                to.push(b',');
                new_line(margin, depth, to);
            }
            ":" => to.extend_from_slice(b": "),
            value => to.extend_from_slice(value.as_bytes()),
        }
    }
}

fn new_line(margin: &str, depth: usize, to: &mut Vec<u8>) {
    to.push(b'\n');
    to.extend_from_slice(margin.as_bytes());
    to.extend(std::iter::repeat_n(b' ', 2 * depth));
}

/// The tokens of JSON, without the white space between them.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start_matches([' ', '\t', '\r', '\n']);
        let length = match *text.as_bytes().first()? {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            b'"' => string_length(text),
            _ => text
                .find(['{', '}', '[', ']', ',', ':', '"', ' ', '\t', '\r', '\n'])
                .unwrap_or(text.len()),
        };
        let (token, rest) = text.split_at(length);
        self.0 = rest;
        Some(token)
    }
}

/// The length of the string at the start of the text, with its quotes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    let mut bytes = text.bytes().enumerate().skip(1);
    let end = bytes.find(|(_, byte)| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn text(append: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = Vec::new();
        append(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_with_line_breaks_becomes_one_line() {
        assert_eq!(text(|to| line("{\r\n\"a\":\n1}\n", to)), "{  \"a\": 1}\n");
    }

    #[test]
    fn indenting_changes_nothing_but_white_space() {
        let json = r#"{"n":1.50,"big":123456789012345678901234567890,"s":"a \"{[,:]}\" \\","e":{},"l":[ ],
            "in":[{"a":[1, -2e+10]},null]}"#;
        assert_eq!(
            text(|to| indented(json, "", to)),
            r#"{
  "n": 1.50,
  "big": 123456789012345678901234567890,
  "s": "a \"{[,:]}\" \\",
  "e": {},
  "l": [],
  "in": [
    {
      "a": [
        1,
        -2e+10
      ]
    },
    null
  ]
}"#
        );
        assert_eq!(text(|to| indented("[1]", "> ", to)), "[\n>   1\n> ]");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn indented_json_has_the_same_value(value in any_json()) {
            let again = text(|to| indented(&value.to_string(), "", to));
            prop_assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), value);
        }
    }
}
