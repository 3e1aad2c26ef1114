//! The rules that an event is read by.

/// Which rules timestamps and payloads have to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    Current,
    /// Those of earlier versions: any ASCII character between date and time, and any depth.
    Earlier,
}
