//! Removes credentials from addresses anywhere in the report. Nothing that is read should contain any: this is for
//! what other programs write, such as the name of a host in an error.

use serde_json::Value;

/// The text with the credentials of each address (`scheme://USER:PASSWORD@HOST`) replaced.
pub(super) fn in_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        // Credentials cannot contain these: they would be percent-encoded.
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'<>".contains(c));
        let mut end = end.unwrap_or(after.len());
        if after[..end].ends_with(':') && after[end..].starts_with("//") {
            // The next address of a list begins there.
            end -= 1;
        }
        let (authority, further) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => shown.extend(["***@", host]),
            None => shown.push_str(authority),
        }
        rest = further;
    }
    shown + rest
}

/// Applies [`in_text`] to each string of a JSON value, except for the names of members.
pub(super) fn in_value(value: &mut Value) {
    match value {
        Value::String(text) => *text = in_text(text),
        Value::Array(values) => values.iter_mut().for_each(in_value),
        Value::Object(members) => members.values_mut().for_each(in_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_of_addresses_are_replaced_and_nothing_else() {
        for (text, shown) in [
            ("nats://me:p%40ss@host:4222", "nats://***@host:4222"),
            (
                "at http://a:b@c/x?y=z, and tls://t@d.",
                "at http://***@c/x?y=z, and tls://***@d.",
            ),
            ("nats://a@b,nats://c", "nats://***@b,nats://c"),
            ("nats://a,nats://b:c@d e@f", "nats://a,nats://***@d e@f"),
            ("http://host/user@example", "http://host/user@example"),
            ("no address: a@b", "no address: a@b"),
        ] {
            assert_eq!(in_text(text), shown);
        }
        let mut value = json!({"a": ["http://x:y@z"], "b": {"c": 1, "d": null}});
        in_value(&mut value);
        assert_eq!(
            value,
            json!({"a": ["http://***@z"], "b": {"c": 1, "d": null}})
        );
    }
}
