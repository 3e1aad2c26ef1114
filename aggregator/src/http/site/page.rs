//! The live page at `/` and its files, which are compiled into the program.

use axum::{
    extract::{Path, RawQuery},
    http::{HeaderValue, StatusCode, Uri, header},
    response::{Html, IntoResponse, Response},
};

use super::sign_in::{self, escaped};
use crate::{
    access::{Grant, Patterns},
    http::{
        api::unknown_path,
        edge::{
            access::{MaybeCaller, scopes},
            problem::Problem,
        },
    },
};

/// A file of the page: its name, its type and its text.
macro_rules! file {
    ($name:literal, $kind:expr) => {
        ($name, $kind, include_str!(concat!("../../../page/", $name)))
    };
}

/// The files that the page loads, each with its type.
const FILES: &[(&str, &str, &str)] = &[
    file!("icon.svg", SVG),
    file!("icon-trouble.svg", SVG),
    file!("page.css", CSS),
    file!("counts.css", CSS),
    file!("charts.css", CSS),
    file!("lists.css", CSS),
    file!("events.css", CSS),
    file!("histogram.css", CSS),
    file!("address.js", JS),
    file!("aggregators.js", JS),
    file!("bar.js", JS),
    file!("chart.js", JS),
    file!("conflicts.js", JS),
    file!("copy.js", JS),
    file!("disk.js", JS),
    file!("dom.js", JS),
    file!("event.js", JS),
    file!("events.js", JS),
    file!("headline.js", JS),
    file!("histogram.js", JS),
    file!("json.js", JS),
    file!("kept.js", JS),
    file!("keys.js", JS),
    file!("landing.js", JS),
    file!("moments.js", JS),
    file!("newer.js", JS),
    file!("nothing.js", JS),
    file!("page.js", JS),
    file!("payload.js", JS),
    file!("query.js", JS),
    file!("rate.js", JS),
    file!("recovery.js", JS),
    file!("rejected.js", JS),
    file!("repeated.js", JS),
    file!("results.js", JS),
    file!("review.js", JS),
    file!("rows.js", JS),
    file!("scale-switch.js", JS),
    file!("scale.js", JS),
    file!("share.js", JS),
    file!("sign-in.js", JS),
    file!("sparkline.js", JS),
    file!("storage.js", JS),
    file!("tail.js", JS),
    file!("topic.js", JS),
    file!("topics.js", JS),
    file!("warnings.js", JS),
];

const SVG: &str = "image/svg+xml";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

const PAGE: &str = include_str!("../../../page/index.html");

/// Returns the live page, or without a valid token the one that asks for it.
pub async fn index(MaybeCaller(caller): MaybeCaller, RawQuery(query): RawQuery) -> Response {
    let Some(caller) = caller else {
        return sign_in::page(StatusCode::OK, "", query.as_deref().unwrap_or_default());
    };
    let grant = &caller.grant;
    let mut page = PAGE.replace("<!-- access -->", &access(grant));
    if scopes::Needs::ReadAll.check(grant).is_err() {
        page = page.replace("<body>", "<body data-scope=\"some\">");
    }
    with_forms(Html(page).into_response())
}

/// Who is signed in, and what they may do.
fn access(grant: &Grant) -> String {
    let Some(name) = &grant.name else {
        return "<p id=\"access\" class=\"note\" title=\"Everybody who reaches this page may publish, read and operate everything.\">Anonymous access</p>".to_owned();
    };
    let topics = |patterns: &Patterns| match patterns {
        every if every.is_every() => "every topic".to_owned(),
        none if none.is_empty() => "no topic".to_owned(),
        some => some.to_string(),
    };
    let scopes = format!(
        "reads {}; publishes {}{}",
        topics(&grant.read),
        topics(&grant.publish),
        if grant.admin { "; admin" } else { "" }
    );
    format!(
        "<form id=\"access\" class=\"note\" method=\"post\" action=\"sign-out\">Signed in as <b>{}</b>: {}. <button>Sign out</button></form>",
        escaped(name),
        escaped(&scopes)
    )
}

/// A page with forms, which differs from client to client. With the guard's referrer policy a browser would not say from which
/// site it sends a form.
pub fn with_forms(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The policy of the guard, and in addition forms.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// Returns the icon. Browsers ask for it under this path for a document that names no icon, such as a JSON response.
pub async fn icon(uri: Uri) -> Result<Response, Problem> {
    file(Path("icon.svg".to_owned()), uri).await
}

/// Returns a file of the live page. Browsers revalidate scripts and styles each time, so the page and its files are of one
/// version after an update. They keep icons for a day, so that the one for trouble is shown when the service does not respond.
pub async fn file(Path(name): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let found = FILES.iter().find(|(file, ..)| *file == name);
    let Some((_, kind, text)) = found else {
        return Err(unknown_path(&uri));
    };
    let cached = if *kind == SVG {
        "max-age=86400"
    } else {
        "no-cache"
    };
    let headers = [
        (header::CONTENT_TYPE, *kind),
        (header::CACHE_CONTROL, cached),
    ];
    Ok((headers, *text).into_response())
}
