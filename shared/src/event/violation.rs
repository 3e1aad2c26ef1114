//! Violations of the rules for events.

use std::{borrow::Cow, fmt};

use serde::Serialize;

use super::MAX_NAME_BYTES;

/// One violation of the rules for events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Violation {
    /// The field at fault, or null if the event as a whole is at fault.
    pub field: Option<String>,
    /// The rule that was broken, for programs.
    pub code: Code,
    /// A human-readable description of what is wrong.
    pub message: Cow<'static, str>,
}

impl Violation {
    /// Creates a violation by `field`, or by the event as a whole if that is `None`. The field's name is truncated to at
    /// most [`MAX_NAME_BYTES`] bytes.
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
    /// A required field is missing.
    Missing,
    /// A field is given more than once.
    Repeated,
    /// The field is not a field of an event.
    Unknown,
    /// The value has the wrong JSON type.
    WrongType,
    /// An empty string, or an empty list of events.
    Empty,
    /// A string of more than [`MAX_NAME_BYTES`] bytes.
    TooLong,
    /// Not an RFC 3339 time with an offset.
    NotRfc3339,
    /// A payload nested more than [`MAX_DEPTH`](super::MAX_DEPTH) levels deep.
    TooDeep,
    /// More bytes than [`MAX_EVENT_BYTES`](super::MAX_EVENT_BYTES).
    TooLarge,
    /// More events than one request may contain.
    TooMany,
    /// A number out of range, or not a number.
    OutOfRange,
    /// An unsupported version of another format.
    Unsupported,
}
