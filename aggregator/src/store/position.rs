//! Where a store stands in the stream, and the stream as it was met.

use shared::stream::StreamState;

use super::ranges::Ranges;

/// The applied message with the highest sequence, by which a stream is known again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Witness {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When the stream took it, in nanoseconds since 1970.
    pub time: i64,
}

/// How far the current stream is applied, and by what it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// All sequences up to this one are applied and on disk, or missing for good.
    pub floor: u64,
    /// What the stream must still have in this place, unless it was trimmed; none before a message was applied.
    pub witness: Option<Witness>,
}

/// Where the store stands in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The store's own id.
    pub store_id: String,
    /// How far it has come.
    pub standing: Standing,
    /// Sequences that the stream lost before they were applied, and that nobody acknowledged.
    pub missing: u64,
}

/// The stream as it was met.
#[derive(Debug, Clone)]
pub struct ObservedStream {
    /// Its state.
    pub stream: StreamState,
    /// Sequences between its first and its last that it does not have.
    pub deleted: Ranges,
    /// Whether it has another message in the place of the witness.
    pub is_other: bool,
    /// The first sequence that it gave out.
    pub begins: u64,
}

impl From<StreamState> for ObservedStream {
    fn from(stream: StreamState) -> Self {
        Self {
            stream,
            deleted: Ranges::default(),
            is_other: false,
            begins: 1,
        }
    }
}
