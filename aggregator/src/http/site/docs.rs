//! `GET /docs`: Swagger UI for `GET /openapi.json`, in which requests can be tried. Swagger UI's files are part of a crate.

use axum::{
    extract::Path,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use swagger_ui_redist::SwaggerUi;

use crate::http::edge::problem::Problem;

const PAGE: &str = include_str!("docs/page.html");

/// The page's own script and style sheet. They are separate files, so that the policy need not allow inline ones.
const OWN: [(&str, &str); 2] = [
    ("reader.css", include_str!("docs/reader.css")),
    ("reader.js", include_str!("docs/reader.js")),
];

/// The policy of the guard, and in addition the images embedded in Swagger UI's style sheet.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Returns the page that shows the OpenAPI document.
pub async fn page() -> Response {
    let mut page = of_type("text/html; charset=utf-8", PAGE.as_bytes());
    let headers = page.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    page
}

/// Returns a file of the page `/docs`.
pub async fn file(Path(name): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let kind = match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        _ => "image/png",
    };
    if let Some((_, text)) = OWN.iter().find(|(file, _)| *file == name) {
        return Ok(of_type(kind, text.as_bytes()));
    }
    let found = SwaggerUi::static_files()
        .iter()
        .find(|(file, _)| file.file_name() == name);
    let (_, bytes) =
        found.ok_or_else(|| Problem::not_found(format!("nothing is served at {}", uri.path())))?;
    Ok(of_type(kind, bytes))
}

fn of_type(kind: &'static str, bytes: &'static [u8]) -> Response {
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static(kind))],
        bytes,
    )
        .into_response()
}
