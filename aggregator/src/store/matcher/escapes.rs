//! JSON without its escape sequences, so that a text is found however it is escaped.

/// JSON with the characters in place of their escape sequences, to search a text in it. A backslash in JSON always begins an
/// escape sequence in a string.
pub(super) fn unescaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, escaped)) = rest.split_once('\\') {
        text.push_str(before);
        let (character, length) = match escaped.as_bytes().first() {
            Some(b'u') => unicode(escaped),
            Some(b'n') => ('\n', 1),
            Some(b't') => ('\t', 1),
            Some(b'r') => ('\r', 1),
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            // A quote, a slash or a backslash stands for itself.
            Some(other) => (char::from(*other), 1),
            None => break,
        };
        text.push(character);
        rest = escaped.get(length..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}

/// The character of a sequence `uXXXX`, or of two for a surrogate pair, and the length of the sequence.
fn unicode(escaped: &str) -> (char, usize) {
    let unit = |at: usize| u16::from_str_radix(escaped.get(at..at + 4)?, 16).ok();
    let is_pair = escaped.get(5..7) == Some("\\u");
    let units = [unit(1), unit(7).filter(|_| is_pair)];
    let mut decoded = char::decode_utf16(units.into_iter().flatten());
    match decoded.next() {
        Some(Ok(character)) => (
            character,
            1 + 4 * character.len_utf16() + 2 * (character.len_utf16() - 1),
        ),
        _ => (char::REPLACEMENT_CHARACTER, 5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_escape_sequence_becomes_its_character() {
        for (json, text) in [
            (r#"{"a":"J\u00fcrgen"}"#, r#"{"a":"Jürgen"}"#),
            (r#"{"a":"\ud83d\ude00!"}"#, r#"{"a":"😀!"}"#),
            (r#"{"a":"\ud83dx\ude00"}"#, "{\"a\":\"\u{fffd}x\u{fffd}\"}"),
            (r#"{"a":"\ud83d\u0041"}"#, "{\"a\":\"\u{fffd}A\"}"),
            (
                r#"{"a":"say \"hi\" \\ \/ \n"}"#,
                "{\"a\":\"say \"hi\" \\ / \n\"}",
            ),
            (r#"{"a":"\\u00fc"}"#, r#"{"a":"\u00fc"}"#),
        ] {
            assert_eq!(unescaped(json), text, "{json}");
        }
    }
}
