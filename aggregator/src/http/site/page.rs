//! The live page at `/` and its files, which are compiled into the program.

use axum::{
    extract::Path,
    http::{Uri, header},
    response::{Html, IntoResponse, Response},
};

use super::NoFile;
use crate::http::{api::unknown_path, edge::problem::Problem};

/// A file of the page: its name, its type and its text.
macro_rules! file {
    ($name:literal, $kind:expr) => {
        ($name, $kind, include_str!(concat!("../../../page/", $name)))
    };
}

/// The files that the page loads, each with its type.
const FILES: &[(&str, &str, &str)] = &[
    file!("icon.svg", "image/svg+xml"),
    file!("page.css", CSS),
    file!("counts.css", CSS),
    file!("lists.css", CSS),
    file!("address.js", JS),
    file!("chart.js", JS),
    file!("dom.js", JS),
    file!("events.js", JS),
    file!("json.js", JS),
    file!("kept.js", JS),
    file!("page.js", JS),
    file!("scale.js", JS),
    file!("topics.js", JS),
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
