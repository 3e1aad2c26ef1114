//! Pages that take memory: each has a place while it is read from the store and sent.

use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use serde::Serialize;
use shared::event::Code;
use tokio::sync::OwnedSemaphorePermit;

use super::{problem::Problem, query::Query};

/// Rows of a page where no limit is given.
pub const DEFAULT_LIMIT: usize = 100;

/// Most rows of a page.
pub const MAX_LIMIT: usize = 1_000;

/// Pages in memory at once, being read from the store or sent. Further requests wait.
pub const MAX_PAGES: usize = 16;

/// Most of them that are pieces of exports: whoever reads one slowly, or not, holds up other exports and no pages.
pub const MAX_PIECES: usize = MAX_PAGES / 2;

/// The answer with a page. It is in memory until its reader has taken it, and so long it has its place.
pub fn answer(page: impl Serialize, place: OwnedSemaphorePermit) -> Response {
    Json(page).into_response().map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _held = &place;
            frame
        }))
    })
}

/// The number in the parameter `cursor`: that of the last row shown. To those who use the API it is opaque.
///
/// # Errors
/// 422 where it is none.
pub fn cursor(query: &Query) -> Result<Option<i64>, Problem> {
    let parse = |text: &str| {
        let number = text.parse().ok().filter(|number| *number > 0);
        number.ok_or_else(wrong_cursor)
    };
    query.text("cursor").map(parse).transpose()
}

/// 422: the cursor is none of these rows.
pub fn wrong_cursor() -> Problem {
    let message = "is not one that was given out as next_cursor for these rows".to_owned();
    Problem::invalid_query("cursor", Code::WrongType, message)
}
