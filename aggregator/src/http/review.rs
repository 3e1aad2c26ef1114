//! What people should look at: rejected arrivals, conflicts, and what the stream lost.

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

/// Requests and answers, as they are: by method and path, then by what they are.
pub const EXAMPLES: &str = include_str!("review/examples.json");

/// What takes a request without a body, too.
pub const MAY_BE_EMPTY: [&str; 2] = ["/missing/acknowledge", "/rejected/{id}/requeue"];

parameters! {
    /// Of `GET /rejected` and `GET /conflicts`.
    OfKept = [
        limit(),
        query("cursor", "next_cursor of the page before.")
            .schema(Some(text().pattern(Some("^[1-9][0-9]{0,17}$")))),
    ];
}
