//! Queries of stored events: filters, exports, tails, and the topics and identities.

mod exports;
mod identities;
mod kept;
mod queries;
mod tail;
mod topics;
