//! The canonical form of strings in JSON, independent of the escapes they were received with.

use std::{borrow::Cow, fmt::Write};

/// Rewrites valid JSON so that its strings escape only characters that must be escaped, each in exactly one way.
/// Everything outside strings is kept byte for byte, including numbers and white space.
pub(super) fn canonical(json: &str) -> Cow<'_, str> {
    if json.contains('\\') {
        Cow::Owned(rewrite(json, false))
    } else {
        Cow::Borrowed(json)
    }
}

/// Like [`canonical`], but without white space between tokens.
pub(super) fn compact(json: &str) -> String {
    rewrite(json, true)
}

fn rewrite(json: &str, is_compact: bool) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(quote) = rest.find('"') {
        let (between, string) = rest.split_at(quote);
        push_between(&mut out, between, is_compact);
        out.push('"');
        rest = push_string(&mut out, &string[1..]);
        out.push('"');
    }
    push_between(&mut out, rest, is_compact);
    out
}

fn push_between(out: &mut String, text: &str, is_compact: bool) {
    if is_compact {
        out.extend(text.split_ascii_whitespace());
    } else {
        out.push_str(text);
    }
}

/// Writes a string without its quotes; `text` begins after the opening one. Returns the text after the closing one.
fn push_string<'a>(out: &mut String, mut text: &'a str) -> &'a str {
    while let Some(at) = text.find(['"', '\\']) {
        out.push_str(&text[..at]);
        let is_end = text.as_bytes()[at] == b'"';
        text = &text[at + 1..];
        if is_end {
            return text;
        }
        text = push_escape(out, text);
    }
    // Unreachable for valid JSON.
    text
}

/// Writes the character that an escape denotes, escaped only if necessary; `text` begins after the backslash. Returns
/// the text after the escape, or after both escapes of a surrogate pair.
fn push_escape<'a>(out: &mut String, text: &'a str) -> &'a str {
    let (escape, rest) = text.split_at(text.len().min(1));
    if escape != "u" {
        if escape != "/" {
            out.push('\\');
        }
        out.push_str(escape);
        return rest;
    }
    let (first, rest) = unit(rest);
    let low = rest.strip_prefix("\\u").map(unit).filter(|(second, _)| {
        (0xD800..0xDC00).contains(&first) && (0xDC00..0xE000).contains(second)
    });
    let (point, rest) = match low {
        Some((second, rest)) => (
            0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00),
            rest,
        ),
        None => (first, rest),
    };
    match char::from_u32(point) {
        Some(char @ ('"' | '\\')) => out.extend(['\\', char]),
        Some('\u{8}') => out.push_str("\\b"),
        Some('\u{c}') => out.push_str("\\f"),
        Some('\n') => out.push_str("\\n"),
        Some('\r') => out.push_str("\\r"),
        Some('\t') => out.push_str("\\t"),
        Some(char) if char >= ' ' => out.push(char),
        // A control character, or an unpaired surrogate, which UTF-8 cannot encode.
        _ => write!(out, "\\u{point:04x}").expect("writing to a string never fails"),
    }
    rest
}

/// Parses four hexadecimal digits as a UTF-16 code unit; also returns the text after them.
fn unit(text: &str) -> (u32, &str) {
    let (digits, rest) = text.split_at(text.floor_char_boundary(4));
    (u32::from_str_radix(digits, 16).unwrap_or(0), rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strings_are_canonicalized_and_everything_else_is_kept() {
        for (received, expected) in [
            (r#""h\u00e4llo""#, "\"hällo\""),
            (r#""\u003ca\/>""#, r#""<a/>""#),
            (r#""\uD83D\uDE00\u2028""#, "\"😀\u{2028}\""),
            (r#""\u0022\u005c\"\\""#, r#""\"\\\"\\""#),
            (
                r#""\u000A\n\u0008\u001F\u007f""#,
                "\"\\n\\n\\b\\u001f\u{7f}\"",
            ),
            (
                r#""\uD800\ud800\uDC00x\udC00""#,
                "\"\\ud800\u{10000}x\\udc00\"",
            ),
            (
                r#" { "\u0061" : [ 1.50 , "\\u0061" , 1E+5 ] } "#,
                r#" { "a" : [ 1.50 , "\\u0061" , 1E+5 ] } "#,
            ),
        ] {
            assert_eq!(canonical(received), expected, "{received}");
            assert_eq!(canonical(expected), expected);
        }
        assert_eq!(
            compact("\r\n{ \"a b\" :\t[ 1 , -2.0, \"\\u0020\" ] }\n"),
            r#"{"a b":[1,-2.0," "]}"#
        );
    }

    proptest! {
        #[test]
        fn every_spelling_has_the_same_result_and_the_same_meaning(
            text in "\\PC{0,12}|[\\x00-\\x7f]{0,12}", escaped in prop::collection::vec(any::<bool>(), 48),
        ) {
            let plain = serde_json::to_string(&text).unwrap();
            let mut other = String::from("\"");
            for (char, is_escaped) in text.chars().zip(escaped.into_iter().cycle()) {
                let quoted = serde_json::to_string(&char).unwrap();
                if is_escaped {
                    let mut units = [0; 2];
                    for unit in char.encode_utf16(&mut units) {
                        write!(other, "\\u{unit:04X}").unwrap();
                    }
                } else {
                    other.push_str(&quoted[1..quoted.len() - 1]);
                }
            }
            other.push('"');
            prop_assert_eq!(canonical(&other), canonical(&plain));
            prop_assert_eq!(serde_json::from_str::<String>(&canonical(&other)).unwrap(), text);
            prop_assert_eq!(canonical(&plain), plain.as_str());
        }
    }
}
