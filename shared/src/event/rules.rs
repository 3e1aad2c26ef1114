//! The rules by which an event is parsed.

/// The rules for timestamps and payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    Current,
    /// The rules of earlier versions: any ASCII character between date and time, and payloads of any depth.
    Earlier,
}
