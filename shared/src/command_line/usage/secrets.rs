//! Removes the passwords in addresses from errors.

use clap::{Error, error::ContextValue};

use crate::command_line::visible;

/// Removes the credentials from every value that the error repeats, before any of it is printed.
pub fn hide(err: &mut Error) {
    let context: Vec<_> = err
        .context()
        .map(|(kind, value)| (kind, value.clone()))
        .collect();
    for (kind, value) in context {
        let shown = match value {
            ContextValue::String(text) => ContextValue::String(repeated(&text)),
            ContextValue::Strings(texts) => {
                ContextValue::Strings(texts.iter().map(|text| repeated(text)).collect())
            }
            // Tips, some of which repeat the argument.
            ContextValue::StyledStrs(mut tips) => {
                tips.retain(|tip| !tip.to_string().contains('@'));
                ContextValue::StyledStrs(tips)
            }
            other => other,
        };
        err.insert(kind, shown);
    }
}

/// A value as it may be repeated: on one line, and without what may be the user and the password of an address. They end
/// at the last `@`, because a password may contain any character, and values may be lists of addresses.
fn repeated(value: &str) -> String {
    let Some(at) = value.rfind('@') else {
        return visible(value);
    };
    let start = value.find("://").map_or(0, |start| start + "://".len());
    let start = if start > at { 0 } else { start };
    visible(&format!("{}…{}", &value[..start], &value[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_repeated_without_its_credentials() {
        for (value, expected) in [
            ("https://me:secret@logs", "https://…@logs"),
            ("https://me:sec/ret@logs", "https://…@logs"),
            ("https://me:sec://ret@logs/path", "https://…@logs/path"),
            ("https://me:secret@logs:x\n", "https://…@logs:x\\n"),
            ("me:sec@ret@logs", "…@logs"),
            ("me:secret@http://logs", "…@http://logs"),
            (
                "nats://a,nats://me:secret@b,nats://me:other@c",
                "nats://…@c",
            ),
            ("http://logs:1/a", "http://logs:1/a"),
            ("yesterday", "yesterday"),
            ("", ""),
        ] {
            assert_eq!(repeated(value), expected);
        }
    }
}
