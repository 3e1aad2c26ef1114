//! Which identities are stored: fingerprints, the index of them, and the stage that looks batches up in it.

pub mod fingerprint;
pub mod index;
pub mod lookup;
