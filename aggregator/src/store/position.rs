//! How far a store has applied the stream, and the stream as a session found it.

use shared::stream::StreamState;

use super::ranges::Ranges;

/// The applied message with the highest sequence, by which a stream is recognized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Witness {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When the stream stored it, in nanoseconds since 1970.
    pub time: i64,
}

/// How far the current stream is applied, and the message by which it is recognized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// All sequences up to this one are applied and on disk, or missing for good.
    pub floor: u64,
    /// The message that the stream must still have at this sequence, unless it was trimmed; `None` before a message was applied.
    pub witness: Option<Witness>,
}

/// The store's position in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The store's own id.
    pub store_id: String,
    /// The id of the store in a directory that it was copied from; what was that one's on the broker is this one's.
    pub copied_from: Option<String>,
    /// How far the stream is applied.
    pub standing: Standing,
    /// The number of sequences that the stream lost before they were applied, and that were not acknowledged.
    pub missing: u64,
}

/// A shared store before a session observed the stream. Others append meanwhile, so the stream is compared with this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    /// The life of the stream; 0 if there was none.
    pub incarnation: i64,
    /// The highest applied sequence.
    pub highest: u64,
}

/// The stream as a session found it.
#[derive(Debug, Clone)]
pub struct ObservedStream {
    /// Its state.
    pub stream: StreamState,
    /// Deleted sequences between its first and its last.
    pub deleted: Ranges,
    /// Whether it has another message at the witness's sequence.
    pub is_other: bool,
    /// The first sequence that it assigned.
    pub begins: u64,
    /// The store before the stream was observed, if it is shared.
    pub looked: Option<Looked>,
}

impl From<StreamState> for ObservedStream {
    fn from(stream: StreamState) -> Self {
        Self {
            stream,
            deleted: Ranges::default(),
            is_other: false,
            begins: 1,
            looked: None,
        }
    }
}
