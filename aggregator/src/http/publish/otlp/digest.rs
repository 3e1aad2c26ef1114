//! The id of a record without one: a digest of the record, its resource and its scope.

use prost::Message;
use sha2::{Digest as _, Sha256};

use super::message::LogRecord;

/// A digest of parts, each prefixed by its length, so that different lists of parts have different input. A part is a message in
/// Protobuf, whatever encoding it was sent in, so the digest does not depend on the sender's encoding.
#[derive(Clone, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Extends the digest with a message, or its absence, and its schema URL.
    #[must_use]
    pub fn with(&self, message: Option<&impl Message>, schema_url: &str) -> Self {
        let mut digest = self.clone();
        match message {
            Some(message) => digest.add(&message.encode_to_vec()),
            None => digest.0.update([0]),
        }
        digest.add(schema_url.as_bytes());
        digest
    }

    /// The id of a record of this resource and scope.
    #[must_use]
    pub fn id(&self, record: &LogRecord) -> String {
        let mut digest = self.clone();
        digest.add(&record.encode_to_vec());
        format!("sha256:{:x}", digest.0.finalize())
    }

    fn add(&mut self, part: &[u8]) {
        self.0.update([1]);
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }
}
