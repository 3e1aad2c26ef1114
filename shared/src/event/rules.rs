//! The rules by which an event is parsed.

/// The rules for timestamps and payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    Current,
    /// The rules of earlier versions, which accepted any ASCII character between date and time, and did not limit the
    /// depth of payloads.
    Earlier,
}
