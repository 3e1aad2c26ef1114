//! `POST /sign-in` and `POST /sign-out`: the forms of the page, which begin and end a session. They work without scripts.

use std::{error::Error, time::Instant};

use axum::{
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use http_body_util::LengthLimitError;
use tokio::time::timeout;
use tracing::info;

use super::page::with_forms;
use crate::{
    access::Refused,
    clock,
    http::edge::{
        access::{
            Authenticator, Peer,
            sessions::{cookie, id, is_encrypted},
        },
        body::{BODY_TIMEOUT, media_type},
        problem::Problem,
        query::Query,
    },
};

/// The page that asks for a token.
const PAGE: &str = include_str!("../../../page/sign-in.html");

/// The type of a form.
const FORM: &str = "application/x-www-form-urlencoded";

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
pub async fn sign_in(
    State(authenticator): State<Authenticator>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    if !media_type(&head.headers).is_some_and(|kind| kind.eq_ignore_ascii_case(FORM)) {
        return Err(Problem::not_a_form());
    }
    // Nobody needs a token to get here, so nobody may hold a connection for long.
    let body = match timeout(BODY_TIMEOUT, to_bytes(body, MAX_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(err))
            if err
                .source()
                .is_some_and(<dyn Error>::is::<LengthLimitError>) =>
        {
            return Err(Problem::form_too_large(MAX_BYTES));
        }
        Ok(Err(_)) => return Err(Problem::body_incomplete()),
        Err(_) => return Err(Problem::body_too_slow(BODY_TIMEOUT)),
    };
    let form = Query::parse(std::str::from_utf8(&body).ok(), &["token", "user", "query"])?;
    let query = form.text("query").unwrap_or_default();
    if authenticator.access.without_token().is_some() {
        return Ok(back(query, None));
    }
    let token = form.text("token").unwrap_or_default().trim();
    let wrong = match authenticator.access.grant(token, clock::now_micros()) {
        Ok(grant) => {
            let sha256 = grant.sha256.ok_or_else(Problem::wrong_token)?;
            info!(token.name = grant.name.as_deref(), "signed in");
            if let Some(earlier) = id(&head.headers, &head.extensions) {
                authenticator.sessions.end(earlier);
            }
            let id = authenticator.sessions.begin(sha256, Instant::now());
            return Ok(back(
                query,
                Some(cookie(
                    Some(&id),
                    is_encrypted(&head.headers, &head.extensions),
                )),
            ));
        }
        Err(Refused::Unknown) => "This token is not valid: it is mistyped, or has been revoked.",
        Err(Refused::Expired) => "This token has expired.",
    };
    let peer = head.extensions.get::<Peer>().map(|peer| peer.0);
    if let Some(pause) = authenticator.failures.count(peer, Instant::now()) {
        return Err(Problem::too_many_failures(pause));
    }
    Ok(page(StatusCode::FORBIDDEN, wrong, query))
}

/// Ends the session.
pub async fn sign_out(State(authenticator): State<Authenticator>, request: Request) -> Response {
    let headers = request.headers();
    if let Some(id) = id(headers, request.extensions()) {
        authenticator.sessions.end(id);
    }
    back(
        "",
        Some(cookie(None, is_encrypted(headers, request.extensions()))),
    )
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

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use bytes::Bytes;

    use super::*;
    use crate::{
        access::{Access, Tokens},
        metrics::Metrics,
    };

    fn authenticator() -> State<Authenticator> {
        let access = Access::with(Tokens::default());
        State(Authenticator::new(access, Metrics::new()))
    }

    async fn refused(kind: &str, body: Body) -> StatusCode {
        let request = Request::post("/sign-in").header(header::CONTENT_TYPE, kind);
        let answer = sign_in(authenticator(), request.body(body).unwrap()).await;
        answer.unwrap_err().status()
    }

    #[tokio::test(start_paused = true)]
    async fn a_form_must_arrive_in_time_be_small_and_be_a_form() {
        let silent = futures::stream::pending::<Result<Bytes, std::convert::Infallible>>();
        let silent = Body::from_stream(silent);
        assert_eq!(refused(FORM, silent).await, StatusCode::REQUEST_TIMEOUT);
        let large = Body::from(vec![b'a'; MAX_BYTES + 1]);
        assert_eq!(refused(FORM, large).await, StatusCode::PAYLOAD_TOO_LARGE);
        let other = refused("text/plain", Body::from("token=a")).await;
        assert_eq!(other, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}
