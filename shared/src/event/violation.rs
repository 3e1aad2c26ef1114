//! How an event breaks the rules.

use std::{borrow::Cow, fmt};

use serde::Serialize;

use super::MAX_NAME_BYTES;

/// One way in which an event breaks the rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Violation {
    /// The field concerned, or none where it is the event as a whole.
    pub field: Option<String>,
    /// The rule, for programs.
    pub code: Code,
    /// What is wrong, for people.
    pub message: Cow<'static, str>,
}

impl Violation {
    /// A violation of `field`, or of the whole event. Of a field's name at most [`MAX_NAME_BYTES`] are kept.
    #[must_use]
    pub fn new(field: Option<&str>, code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field: field.map(|name| name[..name.floor_char_boundary(MAX_NAME_BYTES)].to_owned()),
            code,
            message: message.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// The rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Code {
    /// A required field is not there.
    Missing,
    /// A field stands there twice.
    Repeated,
    /// A field that events do not have.
    Unknown,
    /// Not the JSON type that belongs there.
    WrongType,
    /// An empty string, or an empty list of events.
    Empty,
    /// A string of more than [`MAX_NAME_BYTES`] bytes.
    TooLong,
    /// Not a time of RFC 3339 with an offset.
    NotRfc3339,
    /// A payload of more than [`MAX_DEPTH`](super::MAX_DEPTH) levels.
    TooDeep,
    /// More bytes than [`MAX_EVENT_BYTES`](super::MAX_EVENT_BYTES).
    TooLarge,
    /// More events than one request may have.
    TooMany,
    /// A number outside its range, or no number.
    OutOfRange,
    /// A version of another format that is not taken.
    Unsupported,
}
