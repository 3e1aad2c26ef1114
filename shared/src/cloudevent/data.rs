//! The data of a `CloudEvent` in the one form that all modes reach, decided by its type.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::value::RawValue;

use super::strings;
use crate::event::Text;

/// The type that data without one has in the JSON format (section 3.1 of the specification).
pub(super) const IMPLIED: &str = "application/json";

/// A member of the payload: its name, and its value as JSON.
pub(super) type Member<'a> = (&'static str, Cow<'a, str>);

/// Types that are text, other than `text/…`, `…+xml` and `…+yaml`.
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

/// What a media type says of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    /// In UTF-8.
    Text,
    /// In another character set: only its bytes are known.
    ForeignText,
    Binary,
}

impl Kind {
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
    Kind::of(media_type) == Kind::Json
}

/// The member that these bytes are: `data` where they are JSON, or text in UTF-8, by their type, otherwise
/// `data_base64`. Without a type they are JSON if they can be: some libraries leave out the type that the JSON format
/// implies. None for no bytes: the binary mode has no other way to say that there is no data.
pub(super) fn of_bytes(media_type: Option<&str>, bytes: &[u8]) -> Option<Member<'static>> {
    if bytes.is_empty() {
        return None;
    }
    let text = match media_type.map_or(Kind::Json, Kind::of) {
        Kind::Json => serde_json::from_slice::<&RawValue>(bytes)
            .ok()
            .map(|json| strings::respelled(json.get()).into_owned()),
        Kind::Text => std::str::from_utf8(bytes).ok().map(as_json),
        Kind::ForeignText | Kind::Binary => None,
    };
    Some(match text {
        Some(text) => ("data", text.into()),
        None => (
            "data_base64",
            format!("\"{}\"", BASE64.encode(bytes)).into(),
        ),
    })
}

/// The member that data within JSON is: a string is the text of data that is not JSON by its type. What the
/// specification does not define stays: values other than strings where the type is not JSON, and strings in a
/// character set other than UTF-8 or of half a surrogate pair.
pub(super) fn of_json<'a>(media_type: Option<&str>, json: &'a RawValue) -> Option<Member<'a>> {
    let kind = media_type.map_or(Kind::Json, Kind::of);
    if matches!(kind, Kind::Text | Kind::Binary)
        && let Ok(Text(text)) = serde_json::from_str(json.get())
    {
        return of_bytes(media_type, text.as_bytes());
    }
    Some(("data", strings::respelled(json.get())))
}

/// A media type as it is kept: in lower case, and where data is kept as JSON or as text without a character set, for both
/// are UTF-8. Some libraries name it in one mode only. Other parameters stay as they came.
pub(super) fn media_type(text: &str) -> String {
    let mut kept = essence(text);
    let parameters = || text.split(';').skip(1);
    // A quoted text may hold a semicolon; what is behind it is no parameter then.
    let is_plain = parameters().all(|part| part.matches('"').count() % 2 == 0);
    let is_known = is_plain && matches!(Kind::of(text), Kind::Json | Kind::Text) && is_utf8(text);
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

/// Whether a type names no other character set. In another one the bytes mean other characters, also where they happen
/// to be UTF-8.
fn is_utf8(media_type: &str) -> bool {
    let mut sets = media_type.split(';').skip(1).filter_map(charset);
    sets.all(|set| set.eq_ignore_ascii_case("utf-8") || set.eq_ignore_ascii_case("us-ascii"))
}

/// The character set that a parameter names.
fn charset(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let is_named = name.trim().eq_ignore_ascii_case("charset");
    is_named.then(|| value.trim().trim_matches('"'))
}

fn as_json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
