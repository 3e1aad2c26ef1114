//! `POST /sign-in` and `POST /sign-out`: the forms of the page, which begin and end a session. They work without scripts.

use std::time::Instant;

use axum::{
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use tracing::info;

use super::page::with_forms;
use crate::{
    access::Refused,
    clock,
    http::edge::{
        access::{
            Door, Peer,
            sessions::{cookie, id},
        },
        problem::Problem,
        query::Query,
    },
};

/// The page that asks for a token.
const PAGE: &str = include_str!("../../../page/sign-in.html");

/// Largest form.
const MAX_BYTES: usize = 16 * 1024;

/// The page that asks for a token, with what was wrong about the previous one. `query` is that of the page that was asked for.
pub fn page(status: StatusCode, wrong: &str, query: &str) -> Response {
    let wrong = match wrong {
        "" => String::new(),
        wrong => format!(
            "<p id=\"wrong\" class=\"warning\" role=\"alert\">{}</p>",
            escaped(wrong)
        ),
    };
    let page = PAGE
        .replace("<!-- wrong -->", &wrong)
        .replace("QUERY", &escaped(query));
    with_forms((status, Html(page)).into_response())
}

/// Begins a session with the token of the form.
pub async fn sign_in(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, MAX_BYTES).await;
    let body = body.map_err(|_| Problem::body_too_large(MAX_BYTES))?;
    let form = Query::parse(std::str::from_utf8(&body).ok(), &["token", "user", "query"])?;
    let query = form.text("query").unwrap_or_default();
    if door.access.of_everybody().is_some() {
        return Ok(back(query, None));
    }
    let token = form.text("token").unwrap_or_default().trim();
    let wrong = match door.access.grant(token, clock::now_micros()) {
        Ok(grant) => {
            let sha256 = grant.sha256.ok_or_else(Problem::wrong_token)?;
            info!(token.name = grant.name.as_deref(), "signed in");
            let id = door.sessions.begin(sha256, Instant::now());
            return Ok(back(
                query,
                Some(cookie(Some(&id), is_encrypted(&head.headers))),
            ));
        }
        Err(Refused::Unknown) => "This token is not valid: it is mistyped, or has been revoked.",
        Err(Refused::Expired) => "This token has expired.",
    };
    let peer = head.extensions.get::<Peer>().map(|peer| peer.0);
    if let Some(pause) = door.failures.count(peer, Instant::now()) {
        return Err(Problem::too_many_failures(pause));
    }
    Ok(page(StatusCode::FORBIDDEN, wrong, query))
}

/// Ends the session.
pub async fn sign_out(State(door): State<Door>, headers: HeaderMap) -> Response {
    if let Some(id) = id(&headers) {
        door.sessions.end(id);
    }
    back("", Some(cookie(None, is_encrypted(&headers))))
}

/// Whether the connection of the browser is encrypted, so that its cookie must never be sent over one that is not. What a client
/// without a proxy says here about itself is of no consequence to others.
fn is_encrypted(headers: &HeaderMap) -> bool {
    let scheme = headers.get("x-forwarded-proto");
    scheme.is_some_and(|scheme| scheme == "https")
}

/// Leads to the page, below whatever path a proxy strips.
fn back(query: &str, cookie: Option<HeaderValue>) -> Response {
    let mark = if query.is_empty() { "" } else { "?" };
    let location = HeaderValue::try_from(format!("./{mark}{query}"));
    let location = location.unwrap_or(HeaderValue::from_static("./"));
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// A text within HTML.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}
