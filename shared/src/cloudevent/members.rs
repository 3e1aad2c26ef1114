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

/// Attributes of the specification that are optional texts, not empty where they stand. The type of the data is one, too.
const OPTIONAL_TEXTS: [&str; 2] = ["dataschema", "subject"];

/// What an object has, sorted; its attributes move from `raw` to `kept` as they are checked.
#[derive(Default)]
pub(super) struct Members<'a> {
    raw: BTreeMap<Cow<'a, str>, &'a RawValue>,
    /// What the payload keeps: attributes by name, their values as JSON.
    pub kept: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// `null` is data, too: it says that there is some, and that it is null.
    pub data: Option<Member<'a>>,
    pub violations: Vec<Violation>,
}

impl<'a> Members<'a> {
    /// Takes out a text that has to be there.
    pub fn required(&mut self, name: &'static str) -> Option<Cow<'a, str>> {
        let Some(raw) = self.take(name) else {
            self.tell(name, Code::Missing, "is required");
            return None;
        };
        let text = not_empty(raw);
        self.check(name, text)
    }

    /// Takes out what `parse` makes of a text, if there is one.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, (Code, String)>,
    ) -> Option<T> {
        let raw = self.take(name)?;
        let parsed = text(raw).and_then(|text| parse(&text));
        self.check(name, parsed)
    }

    /// Checks what has not been taken out, and keeps it.
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
                self.kept.insert(name, value);
            }
        }
    }

    /// Keeps a text for the payload.
    pub fn keep(&mut self, name: &'static str, text: &str) {
        self.kept.insert(name.into(), as_json(text).into());
    }

    /// Keeps the data, and its type: the one that is implied, too, and none that says nothing.
    fn check_data(&mut self, mut kind: Option<String>) {
        let (json, base64) = (self.raw.remove("data"), self.take("data_base64"));
        if json.is_some() && base64.is_some() {
            let message = "is given in addition to data; an event has at most one of the two";
            self.tell("data_base64", Code::Repeated, message);
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

    /// Takes out a member; `null` is as good as none.
    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.raw.remove(name).filter(|raw| raw.get() != "null")
    }

    fn check<T>(&mut self, name: &str, checked: Result<T, (Code, String)>) -> Option<T> {
        checked
            .map_err(|(code, message)| self.tell(name, code, message))
            .ok()
    }

    fn tell(&mut self, name: &str, code: Code, message: impl Into<Cow<'static, str>>) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations
                .push(Violation::new(Some(name), code, message));
        }
    }
}

/// The value of an attribute as a JSON string, written in one way. Integers and booleans become their canonical strings
/// (section "Type System" of the specification): the binary mode has no other.
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
            let message = "an attribute is a string, a boolean or an integer; what else there is belongs into data";
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

/// The text of a string, of characters that the specification allows.
fn text(raw: &RawValue) -> Result<Cow<'_, str>, (Code, String)> {
    let wrong = |message| (Code::WrongType, message);
    if !raw.get().starts_with('"') {
        return Err(wrong("must be a string".to_owned()));
    }
    // JSON allows strings that Unicode does not: a surrogate without its other half.
    let Text(text) = serde_json::from_str(raw.get())
        .map_err(|err| wrong(format!("is no Unicode text: {err}")))?;
    match text.chars().find(|char| !is_allowed(*char)) {
        Some(char) => Err(wrong(format!(
            "has the character U+{:04X}, which CloudEvents do not allow",
            u32::from(char)
        ))),
        None => Ok(text),
    }
}

/// Neither a control character nor one of the 66 that Unicode says are none.
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
                let message = "is no name of an attribute: they have a to z and 0 to 9 only";
                members.tell(&name, Code::Unknown, message);
                continue;
            }
            match members.raw.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(place) => {
                    let name = place.key().clone();
                    members.tell(&name, Code::Repeated, "stands there twice");
                }
            }
        }
        Ok(members)
    }
}
