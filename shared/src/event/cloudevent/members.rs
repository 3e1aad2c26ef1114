//! The members of a `CloudEvent`'s JSON object, and the rules of each (sections "Type System" and "Naming Conventions"
//! of the specification, section 2.2 of its JSON format).

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::data::{self, Member};
use crate::event::{Code, MAX_VIOLATIONS, Text, Violation};

/// Optional string attributes of the specification that must not be empty if given. `datacontenttype` is another one.
const OPTIONAL_TEXTS: [&str; 2] = ["dataschema", "subject"];

/// The members of an object, sorted. Attributes move from `raw` to `attributes` as they are checked.
#[derive(Default)]
pub(super) struct Members<'a> {
    raw: BTreeMap<Cow<'a, str>, &'a RawValue>,
    /// The attributes of the payload by name, with their values as JSON.
    pub attributes: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// `null` counts as data: it differs from absent data.
    pub data: Option<Member<'a>>,
    pub violations: Vec<Violation>,
}

impl<'a> Members<'a> {
    /// Removes and checks a required string.
    pub fn required(&mut self, name: &'static str) -> Option<Cow<'a, str>> {
        let Some(raw) = self.take(name) else {
            self.report(name, Code::Missing, "is required");
            return None;
        };
        let text = not_empty(raw);
        self.check(name, text)
    }

    /// Removes an optional string and parses it.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, (Code, String)>,
    ) -> Option<T> {
        let raw = self.take(name)?;
        let parsed = text(raw).and_then(|text| parse(&text));
        self.check(name, parsed)
    }

    /// Checks and keeps all members that have not been removed.
    pub fn check_rest(&mut self) {
        let kind = self.optional("datacontenttype", |text| match text {
            "" => Err(empty()),
            text => Ok(data::media_type(text)),
        });
        self.check_data(kind);
        for (name, raw) in std::mem::take(&mut self.raw) {
            if raw.get() == "null" {
                continue;
            }
            let value = if OPTIONAL_TEXTS.contains(&name.as_ref()) {
                not_empty(raw).map(|text| as_json(&text).into())
            } else {
                value(raw)
            };
            if let Some(value) = self.check(&name, value) {
                self.attributes.insert(name, value);
            }
        }
    }

    /// Adds a string attribute to the payload.
    pub fn keep(&mut self, name: &'static str, text: &str) {
        self.attributes.insert(name.into(), as_json(text).into());
    }

    /// Checks and keeps the data and its media type. An implied type is added; one without effect is omitted.
    fn check_data(&mut self, mut kind: Option<String>) {
        let (json, base64) = (self.raw.remove("data"), self.take("data_base64"));
        if json.is_some() && base64.is_some() {
            let message = "is given in addition to data; an event has at most one of the two";
            self.report("data_base64", Code::Repeated, message);
        }
        let base64 = base64.and_then(|raw| {
            let decoded = text(raw).and_then(|text| {
                let decoded = BASE64.decode(text.as_bytes());
                decoded.map_err(|err| (Code::WrongType, format!("is not base64: {err}")))
            });
            self.check("data_base64", decoded)
        });
        self.data = match (json, base64) {
            (Some(json), _) => data::of_json(kind.as_deref(), json),
            (None, Some(bytes)) => data::of_bytes(kind.as_deref(), &bytes),
            (None, None) => None,
        };
        match &self.data {
            Some(("data", _)) if kind.is_none() => kind = Some(data::IMPLIED.to_owned()),
            None if kind.as_deref() == Some(data::IMPLIED) => kind = None,
            _ => {}
        }
        if let Some(kind) = kind {
            self.keep("datacontenttype", &kind);
        }
    }

    /// Removes a member; `null` is the same as absent.
    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.raw.remove(name).filter(|raw| raw.get() != "null")
    }

    fn check<T>(&mut self, name: &str, checked: Result<T, (Code, String)>) -> Option<T> {
        checked
            .map_err(|(code, message)| self.report(name, code, message))
            .ok()
    }

    fn report(&mut self, name: &str, code: Code, message: impl Into<Cow<'static, str>>) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations
                .push(Violation::new(Some(name), code, message));
        }
    }
}

/// The value of an attribute as a JSON string in canonical form. Integers and booleans become their canonical strings
/// (section "Type System" of the specification), because the binary mode carries strings only.
fn value(raw: &RawValue) -> Result<Cow<'_, str>, (Code, String)> {
    let json = raw.get();
    match json.as_bytes()[0] {
        b'"' => Ok(as_json(&text(raw)?).into()),
        b't' | b'f' => Ok(as_json(json).into()),
        b'-' | b'0'..=b'9' if let Ok(integer) = json.parse::<i32>() => {
            Ok(as_json(&integer.to_string()).into())
        }
        b'-' | b'0'..=b'9' if json.bytes().skip(1).all(|byte| byte.is_ascii_digit()) => {
            let message = format!("must be an integer from {} to {}", i32::MIN, i32::MAX);
            Err((Code::OutOfRange, message))
        }
        _ => {
            let message = "must be a string, a boolean or an integer; put any other value in data";
            Err((Code::WrongType, message.to_owned()))
        }
    }
}

fn not_empty(raw: &RawValue) -> Result<Cow<'_, str>, (Code, String)> {
    match text(raw)? {
        text if text.is_empty() => Err(empty()),
        text => Ok(text),
    }
}

fn empty() -> (Code, String) {
    (Code::Empty, "must not be empty".to_owned())
}

/// The text of a JSON string; it must contain only characters that the specification allows.
fn text(raw: &RawValue) -> Result<Cow<'_, str>, (Code, String)> {
    let wrong = |message| (Code::WrongType, message);
    if !raw.get().starts_with('"') {
        return Err(wrong("must be a string".to_owned()));
    }
    // JSON allows an unpaired surrogate; Unicode does not.
    let Text(text) = serde_json::from_str(raw.get())
        .map_err(|err| wrong(format!("is not valid Unicode: {err}")))?;
    match text.chars().find(|char| !is_allowed(*char)) {
        Some(char) => Err(wrong(format!(
            "contains the character U+{:04X}, which CloudEvents do not allow",
            u32::from(char)
        ))),
        None => Ok(text),
    }
}

/// Whether it is neither a control character nor one of the 66 noncharacters of Unicode.
fn is_allowed(char: char) -> bool {
    let point = u32::from(char);
    !char.is_control() && !(0xFDD0..=0xFDEF).contains(&point) && point & 0xFFFE != 0xFFFE
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
}

fn as_json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(Text(name)) = map.next_key()? {
            let value = map.next_value()?;
            if name != "data_base64" && !is_name(&name) {
                let message = "is not a valid attribute name; use only a to z and 0 to 9";
                members.report(&name, Code::Unknown, message);
                continue;
            }
            match members.raw.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(entry) => {
                    let name = entry.key().clone();
                    members.report(&name, Code::Repeated, "is given more than once");
                }
            }
        }
        Ok(members)
    }
}
