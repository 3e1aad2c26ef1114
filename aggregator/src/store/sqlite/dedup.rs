//! Deduplication: fingerprints of events, the index of stored identities, and the lookup stage before the writer.

pub mod fingerprint;
pub mod index;
pub mod lookup;
