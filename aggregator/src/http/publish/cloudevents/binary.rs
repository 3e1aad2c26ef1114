//! The binary mode: attributes in headers, data in the body (section 3.1 of the HTTP binding). It is converted to the
//! equivalent structured event, so that the same rules apply to both.

use std::{borrow::Cow, fmt::Write};

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use percent_encoding::percent_decode;
use serde_json::value::RawValue;
use shared::event::{Code, MAX_EVENT_BYTES, Violation, cloudevent};

use crate::http::edge::problem::{ItemErrors, Problem};

/// The prefix of attribute headers.
const PREFIX: &str = "ce-";

/// The structured event, as JSON. A repeated header becomes a repeated member. Headers carry no types: integers and
/// booleans become strings.
pub fn structured(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, Problem> {
    let mut violations = Vec::new();
    let mut json = String::from("{");
    let mut add = |name: &str, value: &str| {
        let comma = if json.len() == 1 { "" } else { "," };
        write!(json, "{comma}{}:{value}", as_json(name)).expect("writing to a string cannot fail");
    };
    let mut kind = None;
    if let Some(value) = headers.get(header::CONTENT_TYPE) {
        match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => {
                add("datacontenttype", &as_json(text));
                kind = Some(text);
            }
            Err(_) => violations.push(not_utf8("datacontenttype")),
        }
    }
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(PREFIX) else {
            continue;
        };
        if matches!(name, "data" | "data_base64" | "datacontenttype") {
            let message = "is not an attribute header: send the type as Content-Type and the data as the body";
            violations.push(Violation::new(Some(name), Code::Unknown, message));
            continue;
        }
        match decoded(name, value.as_bytes()) {
            Ok(text) => add(name, &as_json(&text)),
            Err(violation) => violations.push(violation),
        }
    }
    if body.len() > MAX_EVENT_BYTES {
        violations.push(cloudevent::too_large(body.len()));
    }
    if !violations.is_empty() {
        let mut errors = ItemErrors::default();
        errors.add(Some(0), violations);
        return Err(Problem::invalid_events(errors));
    }
    if kind.is_some_and(cloudevent::is_json) && !body.is_empty() {
        serde_json::from_slice::<&RawValue>(body).map_err(|err| Problem::not_json(&err))?;
    }
    if let Some((name, value)) = cloudevent::data_member(kind, body) {
        add(name, &value);
    }
    json.push('}');
    Ok(json.into())
}

/// The text of a header's value: quoted strings unquoted, then percent-decoded once (section 3.1.3.2). A percent sign
/// that is not followed by two hexadecimal digits is kept.
fn decoded(name: &str, value: &[u8]) -> Result<String, Violation> {
    let unquoted = unquoted(value).ok_or_else(|| {
        let message = "has an unclosed double quote; write a literal one as %22";
        Violation::new(Some(name), Code::WrongType, message)
    })?;
    let decoded = percent_decode(&unquoted).collect();
    String::from_utf8(decoded).map_err(|_| not_utf8(name))
}

/// The value with double quotes removed, and with backslash escapes within them resolved (RFC 7230, section 3.2.6); `None`
/// if a quote is not closed.
fn unquoted(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !value.contains(&b'"') {
        return Some(value.into());
    }
    let mut text = Vec::with_capacity(value.len());
    let mut is_quoted = false;
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => text.push(*bytes.next()?),
            _ => text.push(byte),
        }
    }
    (!is_quoted).then(|| text.into())
}

fn not_utf8(name: &str) -> Violation {
    let message = "is not UTF-8, before or after percent-decoding";
    Violation::new(Some(name), Code::WrongType, message)
}

fn as_json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The structured event of headers and body, without its braces.
    fn converted(
        headers: &[(&'static str, &[u8])],
        body: &'static [u8],
    ) -> Result<String, Problem> {
        let headers = headers.iter().map(|(name, value)| {
            let value = axum::http::HeaderValue::from_bytes(value).unwrap();
            (name.parse().unwrap(), value)
        });
        let json = structured(&headers.collect(), &Bytes::from_static(body))?;
        let json = std::str::from_utf8(&json).unwrap();
        Ok(json[1..json.len() - 1].to_owned())
    }

    fn typed(kind: &'static str, body: &'static [u8]) -> String {
        let json = converted(&[("content-type", kind.as_bytes())], body).unwrap();
        json.split_once(',').unwrap().1.to_owned()
    }

    #[test]
    fn a_header_is_unquoted_and_then_percent_decoded_once() {
        let value = |value: &'static str| converted(&[("ce-a", value.as_bytes())], b"").ok();
        for (header, text) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", r#""a":"Euro € 😀""#),
            ("%e2%82%ac%61", r#""a":"€a""#),
            ("€", r#""a":"€""#),
            ("%2541", r#""a":"%41""#),
            ("100%", r#""a":"100%""#),
            ("%zz%4", r#""a":"%zz%4""#),
            ("say%22hi%22", r#""a":"say\"hi\"""#),
            (r#""a \"b\\ %20c""#, r#""a":"a \"b\\  c""#),
            (r#"a\b "c d"e"#, r#""a":"a\\b c de""#),
            ("\"\"", r#""a":"""#),
        ] {
            assert_eq!(value(header).as_deref(), Some(text), "{header}");
        }
        for wrong in ["%C0%A0", "%FF", "%ED%A0%80", "\"a", "a\"\\\"", "\"\\"] {
            assert!(value(wrong).is_none(), "{wrong}");
        }
        assert!(converted(&[("ce-a", b"\xFF")], b"").is_err());
        assert!(converted(&[("content-type", b"text/\xFF")], b"").is_err());
    }

    #[test]
    fn a_body_is_json_or_text_or_base64_by_its_type() {
        assert_eq!(
            typed("application/json", b" { \"n\" : 1.50 }\n"),
            r#""data":{ "n" : 1.50 }"#
        );
        assert_eq!(typed("text/JSON; a=b", b"null"), r#""data":null"#);
        assert_eq!(typed("application/vnd.a+json", b"\"a\""), r#""data":"a""#);
        for kind in [
            "text/plain",
            "application/xml",
            "image/svg+xml;charset=\"UTF-8\"",
            "text/xml; charset=us-ascii",
        ] {
            assert_eq!(
                typed(kind, "<ä b=\"1\">\r\n".as_bytes()),
                r#""data":"<ä b=\"1\">\r\n""#
            );
        }
        for (kind, body) in [
            ("application/octet-stream", b"abc"),
            ("json", b"abc"),
            ("", b"abc"),
            ("text/plain; charset=utf-16", b"abc"),
        ] {
            assert_eq!(typed(kind, body), r#""data_base64":"YWJj""#);
        }
        assert_eq!(typed("text/plain", b"\xFF\xFE"), r#""data_base64":"//4=""#);
        assert_eq!(converted(&[], b" 1.50 ").unwrap(), r#""data":1.50"#);
        assert_eq!(converted(&[], b"\0").unwrap(), r#""data_base64":"AA==""#);
        assert_eq!(
            converted(&[("content-type", b"text/plain")], b"").unwrap(),
            r#""datacontenttype":"text/plain""#
        );
        assert!(converted(&[("content-type", b"application/json")], b"\"\xFF\"").is_err());
        assert!(converted(&[("content-type", b"application/json")], b"1 2").is_err());
    }

    #[test]
    fn an_event_is_the_same_in_binary_and_structured_mode() {
        let binary = structured(
            &[
                ("content-type", "application/json; charset=utf-8"),
                ("ce-subject", "a%20%22b%22%2F%C3%A4"),
                ("ce-specversion", "1.0"),
                ("ce-id", "7"),
                ("ce-tenant", "x"),
                ("ce-type", "order.placed"),
                ("ce-source", "/shop"),
                ("host", "here"),
            ]
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .into_iter()
            .collect(),
            &Bytes::from_static(b"{ \"amount\": 1.50 }\n"),
        );
        let same = r#"{"id":"7","type":"order.placed","source":"/shop","specversion":"1.0","subject":"a \"b\"\/\u00e4",
            "tenant":"x","data": { "amount": 1.50 },"datacontenttype":"application/json; charset=utf-8"}"#;
        let event = |json: &Bytes| cloudevent::parse(json, 0).unwrap().to_json();
        assert_eq!(
            event(&binary.unwrap()),
            event(&Bytes::from_static(same.as_bytes()))
        );
    }

    #[test]
    fn a_binary_event_has_the_canonical_form_of_the_structured_one() {
        let core = r#""specversion":"1.0","type":"t","source":"/s","id":"1""#;
        let event = |json: &str| {
            let json = Bytes::from(format!("{{{core},{json}}}"));
            cloudevent::parse(&json, 0).unwrap().to_json()
        };
        for (headers, body, members) in [
            (
                [
                    ("ce-sampledrate", "5"),
                    ("content-type", "application/json"),
                ],
                "{}",
                r#""sampledrate":5,"data":{}"#,
            ),
            (
                [("ce-a", "true"), ("content-type", "application/json")],
                "\"x\"",
                r#""a":true,"data":"x""#,
            ),
            (
                [("ce-a", "h%C3%A4"), ("content-type", "text/plain")],
                "Hi",
                r#""a":"h\u00e4","datacontenttype":"text/plain","data_base64":"SGk=""#,
            ),
            (
                [
                    ("ce-a", ""),
                    ("content-type", "application/json;charset=utf-8"),
                ],
                "",
                r#""a":"","datacontenttype":"application/json","data_base64":"""#,
            ),
            (
                [("ce-a", "-7"), ("content-type", "application/octet-stream")],
                "Hi",
                r#""a":-7,"datacontenttype":"application/octet-stream","data":"Hi""#,
            ),
        ] {
            let headers = headers.map(|(name, value)| (name, value.as_bytes()));
            let binary = converted(&headers, body.as_bytes()).unwrap();
            assert_eq!(event(&binary), event(members), "{members}");
        }
    }
}
