//! The live page at `/` and its files, which are compiled into the program.

use axum::{
    extract::Path,
    http::{Uri, header},
    response::{Html, IntoResponse, Response},
};

use super::NoFile;
use crate::http::{api::unknown_path, edge::problem::Problem};

/// The files that the page loads, each with its type.
const FILES: [(&str, &str, &str); 11] = [
    ("page.css", CSS, include_str!("../../../page/page.css")),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("../../../page/icon.svg"),
    ),
    ("page.js", JS, include_str!("../../../page/page.js")),
    ("address.js", JS, include_str!("../../../page/address.js")),
    ("chart.js", JS, include_str!("../../../page/chart.js")),
    ("dom.js", JS, include_str!("../../../page/dom.js")),
    ("events.js", JS, include_str!("../../../page/events.js")),
    ("json.js", JS, include_str!("../../../page/json.js")),
    ("kept.js", JS, include_str!("../../../page/kept.js")),
    ("scale.js", JS, include_str!("../../../page/scale.js")),
    ("topics.js", JS, include_str!("../../../page/topics.js")),
];

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Returns the live page.
#[utoipa::path(
    get,
    path = "/",
    tag = "service",
    responses((status = OK, body = String, content_type = "text/html"))
)]
pub async fn index() -> Html<&'static str> {
    Html(include_str!("../../../page/index.html"))
}

/// Returns a file of the live page. Browsers revalidate it each time, so the page and its files are of one version after an update.
#[utoipa::path(
    get,
    path = "/page/{file}",
    tag = "service",
    params(("file" = String, Path, description = "The name of the file.", example = "page.js")),
    responses(
        (
            status = OK,
            content(
                (String = "text/javascript"),
                (String = "text/css"),
                (String = "image/svg+xml")
            ),
            headers(("Cache-Control" = String, description = "no-cache: browsers revalidate the file each time."))
        ),
        NoFile
    )
)]
pub async fn file(Path(name): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let found = FILES.iter().find(|(file, ..)| *file == name);
    let Some((_, kind, text)) = found else {
        return Err(unknown_path(&uri));
    };
    let headers = [
        (header::CONTENT_TYPE, *kind),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, *text).into_response())
}
