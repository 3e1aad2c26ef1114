//! What people should look at: rejected arrivals, conflicts, and what the stream lost.

pub mod conflicts;
pub mod missing;
pub mod rejected;
