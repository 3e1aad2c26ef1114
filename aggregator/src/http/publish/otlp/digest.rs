//! The event id of a record that does not give one: a digest of the record, its resource and its scope.

use prost::Message;
use sha2::{Digest as _, Sha256};

use super::message::LogRecord;

/// A digest of messages and schema URLs. Each part is prefixed by its length, so that different lists of parts never produce the
/// same input. Messages are always encoded as Protobuf, so the digest does not depend on the encoding of the request.
#[derive(Clone, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Returns this digest extended with a message, or a marker for its absence, and its schema URL.
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

    /// The event id of a record with this resource and scope.
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
