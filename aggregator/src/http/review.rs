//! What the operator should review: rejected arrivals, conflicts, and sequences that the stream lost.

pub mod conflicts;
pub mod missing;
pub mod rejected;

use super::{
    edge::paging::limit,
    openapi::{
        parameters::{parameters, query},
        schemas::text,
    },
};

/// Example requests and responses: by method and path, then by query, body and status.
pub const EXAMPLES: &str = include_str!("review/examples.json");

/// Paths whose request body is optional.
pub const MAY_BE_EMPTY: [&str; 2] = ["/missing/acknowledge", "/rejected/{id}/requeue"];

parameters! {
    /// The parameters of `GET /rejected` and `GET /conflicts`.
    OfKept = [
        limit(),
        query("cursor", "next_cursor of the previous page.")
            .schema(Some(text().pattern(Some("^[1-9][0-9]{0,17}$")))),
    ];
}
