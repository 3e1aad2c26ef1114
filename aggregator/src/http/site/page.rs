//! The live page at `/` and its files, which are compiled into the program.

use axum::{
    extract::Path,
    http::{Uri, header},
    response::{Html, IntoResponse, Response},
};

use crate::http::{api::unknown_path, edge::problem::Problem};

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

/// Returns the live page.
pub async fn index() -> Html<&'static str> {
    Html(include_str!("../../../page/index.html"))
}

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
