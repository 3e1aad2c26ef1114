//! The canonical form of a `CloudEvent`'s data, determined by its media type and the same in all modes.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::value::RawValue;

use super::strings;
use crate::event::Text;

/// The media type implied by the JSON format for data without one (section 3.1 of the specification).
pub(super) const IMPLIED: &str = "application/json";

/// A member of the payload: its name, and its value as JSON.
pub(super) type Member<'a> = (&'static str, Cow<'a, str>);

/// Media types of text other than `text/…`, `…+xml` and `…+yaml`.
const TEXTS: [&str; 8] = [
    "application/xml",
    "application/yaml",
    "application/toml",
    "application/javascript",
    "application/graphql",
    "application/sql",
    "application/x-ndjson",
    "application/x-www-form-urlencoded",
];

/// The kind of data that a media type denotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DataKind {
    Json,
    /// Text in UTF-8.
    Text,
    /// Text in another character set, handled as bytes.
    ForeignText,
    Binary,
}

impl DataKind {
    fn of(media_type: &str) -> Self {
        let essence = essence(media_type);
        let (family, subtype) = essence.split_once('/').unwrap_or_default();
        let is_text = family == "text"
            || TEXTS.contains(&essence.as_str())
            || subtype.ends_with("+xml")
            || subtype.ends_with("+yaml");
        if subtype == "json" || subtype.ends_with("+json") {
            Self::Json
        } else if !is_text {
            Self::Binary
        } else if is_utf8(media_type) {
            Self::Text
        } else {
            Self::ForeignText
        }
    }
}

/// Whether data of this media type is JSON.
#[must_use]
pub fn is_json(media_type: &str) -> bool {
    DataKind::of(media_type) == DataKind::Json
}

/// The member for data given as bytes: `data` if they are JSON or UTF-8 text by their media type, otherwise
/// `data_base64`. Without a media type they are JSON if they parse as JSON: some libraries omit the type that the JSON
/// format implies. `None` for no bytes, because the binary mode cannot express absent data in any other way.
pub(super) fn of_bytes(media_type: Option<&str>, bytes: &[u8]) -> Option<Member<'static>> {
    if bytes.is_empty() {
        return None;
    }
    let text = match media_type.map_or(DataKind::Json, DataKind::of) {
        DataKind::Json => serde_json::from_slice::<&RawValue>(bytes)
            .ok()
            .map(|json| strings::canonical(json.get()).into_owned()),
        DataKind::Text => std::str::from_utf8(bytes).ok().map(as_json),
        DataKind::ForeignText | DataKind::Binary => None,
    };
    Some(match text {
        Some(text) => ("data", text.into()),
        None => (
            "data_base64",
            format!("\"{}\"", BASE64.encode(bytes)).into(),
        ),
    })
}

/// The member for data given as JSON: if the media type is not JSON, a string is the text of the data. Anything the
/// specification does not define is kept: values other than strings if the type is not JSON, and strings in a character
/// set other than UTF-8 or with an unpaired surrogate.
pub(super) fn of_json<'a>(media_type: Option<&str>, json: &'a RawValue) -> Option<Member<'a>> {
    let kind = media_type.map_or(DataKind::Json, DataKind::of);
    if matches!(kind, DataKind::Text | DataKind::Binary)
        && let Ok(Text(text)) = serde_json::from_str(json.get())
    {
        return of_bytes(media_type, text.as_bytes());
    }
    Some(("data", strings::canonical(json.get())))
}

/// The canonical form of a media type: in lower case, and without a character set if the data is JSON or text, since both
/// are UTF-8 and some libraries name the character set in one mode only. Other parameters are kept as received.
pub(super) fn media_type(text: &str) -> String {
    let mut kept = essence(text);
    let parameters = || text.split(';').skip(1);
    // A semicolon in a quoted string does not start a parameter.
    let is_plain = parameters().all(|part| part.matches('"').count() % 2 == 0);
    let is_known =
        is_plain && matches!(DataKind::of(text), DataKind::Json | DataKind::Text) && is_utf8(text);
    for part in parameters() {
        if !(is_known && (charset(part).is_some() || part.trim().is_empty())) {
            kept.push(';');
            kept.push_str(part);
        }
    }
    kept
}

/// A media type without its parameters, in lower case.
fn essence(media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or("");
    essence.trim().to_ascii_lowercase()
}

/// Whether a media type names no character set other than UTF-8 or its subset US-ASCII. In another one the bytes denote
/// other characters, even if they happen to be valid UTF-8.
fn is_utf8(media_type: &str) -> bool {
    let mut sets = media_type.split(';').skip(1).filter_map(charset);
    sets.all(|set| set.eq_ignore_ascii_case("utf-8") || set.eq_ignore_ascii_case("us-ascii"))
}

/// The character set named by a parameter.
fn charset(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let is_named = name.trim().eq_ignore_ascii_case("charset");
    is_named.then(|| value.trim().trim_matches('"'))
}

fn as_json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
