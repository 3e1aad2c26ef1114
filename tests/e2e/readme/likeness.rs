//! Masks the members of a response that differ in each run, so that the rest can be compared.

use serde::de::IgnoredAny;

/// The text with the values of these members, and white space before them, replaced by `…`. Everything else stays as
/// written, byte for byte.
pub fn without(members: &[&str], text: &str) -> String {
    let mut left = text.to_owned();
    for member in members {
        left = without_one(&format!("\"{member}\":"), &left);
    }
    left
}

fn without_one(name: &str, mut rest: &str) -> String {
    let mut left = String::new();
    while let Some(at) = rest.find(name) {
        let (before, value) = rest.split_at(at + name.len());
        left.push_str(before);
        let mut values = serde_json::Deserializer::from_str(value).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(_)) => {
                left.push('…');
                rest = &value[values.byte_offset()..];
            }
            // No JSON value follows, so the name is part of other text.
            _ => rest = value,
        }
    }
    left.push_str(rest);
    left
}

#[test]
fn only_what_varies_is_replaced() {
    let text = r#"{"a":1.50,"b":{"a":[1,{"c":2}],"d":"x"},"at":"now"}"#;
    assert_eq!(
        without(&["a"], text),
        r#"{"a":…,"b":{"a":…,"d":"x"},"at":"now"}"#
    );
    assert_eq!(without(&["b", "at"], text), r#"{"a":1.50,"b":…,"at":…}"#);
    assert_eq!(without(&["z"], text), text);
}
