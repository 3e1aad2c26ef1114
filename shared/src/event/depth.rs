//! The nesting depth of JSON, measured without recursion.

/// Most levels of a payload. The payload itself is level 1; each object or array inside another one is one level deeper.
/// Many recursive parsers have a limit not far above this.
pub const MAX_DEPTH: usize = 128;

/// Whether valid JSON is nested more than `max` levels deep.
pub(crate) fn is_deeper(json: &[u8], max: usize) -> bool {
    // Each level takes two brackets; few payloads have that many.
    json.len() > 2 * max && openings(json) > max && exceeds(json, max)
}

/// Counts opening brackets, including those within strings: an upper bound on the number of levels. It sums bytes in
/// chunks, which the compiler vectorizes.
fn openings(json: &[u8]) -> usize {
    let in_chunk =
        |chunk: &[u8]| -> u8 { chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum() };
    json.chunks(255)
        .map(|chunk| usize::from(in_chunk(chunk)))
        .sum()
}

fn exceeds(json: &[u8], max: usize) -> bool {
    let mut depth = 0;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b'}' | b']' => depth -= 1,
            b'"' => {
                while let Some(byte) = bytes.next()
                    && *byte != b'"'
                {
                    if *byte == b'\\' {
                        bytes.next();
                    }
                }
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn levels_are_counted_exactly_and_outside_strings_only() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(!is_deeper(nested(128).as_bytes(), 128));
        assert!(is_deeper(nested(129).as_bytes(), 128));
        assert!(is_deeper(nested(100_000).as_bytes(), 128));
        let wide = format!("[{}]", vec!["{\"a\":[]}"; 1_000].join(","));
        assert!(!is_deeper(wide.as_bytes(), 3) && is_deeper(wide.as_bytes(), 2));
        let text = format!(r#"{{"a\"\\":"\\\"{}\\"}}"#, "[{".repeat(1_000));
        assert!(!is_deeper(text.as_bytes(), 1));
    }

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn the_depth_of_any_value_equals_that_of_its_tree(value in value(), max in 0usize..6) {
            prop_assert_eq!(is_deeper(value.to_string().as_bytes(), max), depth(&value) > max);
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            "[\\[{}\\]\"\\\\a]{0,5}".prop_map(Value::from)
        ];
        leaf.prop_recursive(6, 40, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[\\[\"}a]{0,3}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }
}
