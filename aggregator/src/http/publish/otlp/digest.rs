//! The id of a record that has none: a digest of all that it is.

use prost::Message;
use sha2::{Digest as _, Sha256};

use super::message::LogRecord;

/// A digest of parts, each with its length, so that no two lists of parts have the same. A part is a message in Protobuf,
/// whatever it was sent in, so that it stays the same where a sender changes its encoding.
#[derive(Clone, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// The digest with one message more, or the lack of it, and the address of its schema.
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
