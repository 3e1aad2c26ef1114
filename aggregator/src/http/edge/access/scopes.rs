//! The scope that each route needs. A route that is not in this table answers nobody, and a test walks the table.

use axum::http::Method;

use super::is_free;
use crate::{access::Grant, http::edge::problem::Problem};

/// What a request needs to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// No token. One that is sent is not looked at.
    Nothing,
    /// No token, but with one there is more in the response. One that is not valid is refused.
    Optional,
    /// `publish` for some topic. The handler checks the topic of each event.
    Publish,
    /// `read` for some topic. The handler leaves out all others.
    Read,
    /// `read` for every topic, or `admin`.
    ReadAll,
    /// `admin`.
    Admin,
}

/// The scope of each route, by method and path. GET includes HEAD.
pub const ROUTES: [(&str, &str, Needs); 33] = [
    // Without a token it asks for one.
    ("GET", "/", Needs::Optional),
    ("POST", "/sign-in", Needs::Nothing),
    ("POST", "/sign-out", Needs::Nothing),
    ("GET", "/page/{file}", Needs::Nothing),
    ("GET", "/favicon.ico", Needs::Nothing),
    ("GET", "/docs", Needs::Nothing),
    ("GET", "/docs/{file}", Needs::Nothing),
    ("GET", "/openapi.json", Needs::Nothing),
    ("GET", "/livez", Needs::Nothing),
    ("GET", "/readyz", Needs::Optional),
    ("GET", "/health", Needs::Optional),
    ("POST", "/publish", Needs::Publish),
    ("POST", "/cloudevents", Needs::Publish),
    ("POST", "/v1/logs", Needs::Publish),
    ("POST", "/v1/traces", Needs::Publish),
    ("POST", "/v1/metrics", Needs::Publish),
    ("GET", "/events", Needs::Read),
    ("GET", "/events/tail", Needs::Read),
    ("GET", "/event", Needs::Read),
    ("GET", "/duplicates", Needs::Read),
    ("GET", "/topics", Needs::Read),
    ("GET", "/histogram", Needs::Read),
    ("GET", "/rejected", Needs::Read),
    ("GET", "/conflicts", Needs::Read),
    ("GET", "/stats", Needs::ReadAll),
    ("GET", "/metrics", Needs::ReadAll),
    ("GET", "/live", Needs::ReadAll),
    ("GET", "/missing", Needs::ReadAll),
    ("GET", "/diagnostics", Needs::Admin),
    ("POST", "/rejected/{id}/requeue", Needs::Admin),
    ("POST", "/rejected/seen", Needs::Admin),
    ("POST", "/conflicts/seen", Needs::Admin),
    ("POST", "/missing/acknowledge", Needs::Admin),
];

/// What the table says about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The request needs this.
    Needs(Needs),
    /// The path has these methods, as `Allow` lists them, and not that of the request.
    OtherMethod(String),
    /// The path is not in the table.
    Unknown,
}

/// What a request of a route needs.
pub fn of(method: &Method, path: &str) -> Route {
    if is_free(method) {
        return Route::Needs(Needs::Nothing);
    }
    let asked = if *method == Method::HEAD {
        Method::GET
    } else {
        method.clone()
    };
    let mut allowed = Vec::new();
    for (method, _, needs) in ROUTES.iter().filter(|(_, of, _)| *of == path) {
        if asked == *method {
            return Route::Needs(*needs);
        }
        allowed.push(*method);
        if *method == "GET" {
            allowed.push("HEAD");
        }
    }
    if allowed.is_empty() {
        return Route::Unknown;
    }
    Route::OtherMethod(allowed.join(","))
}

impl Needs {
    /// # Errors
    /// 403 that names what is missing.
    pub fn check(self, grant: &Grant) -> Result<(), Problem> {
        let (has, scope) = match self {
            Self::Nothing | Self::Optional => return Ok(()),
            Self::Publish => (!grant.publish.is_empty(), "publish"),
            Self::Read => (!grant.read.is_empty(), "read"),
            Self::ReadAll => (
                grant.admin || grant.reads_everything(),
                "read for every topic (read = [\"*\"]), or admin",
            ),
            Self::Admin => (grant.admin, "admin"),
        };
        if has {
            return Ok(());
        }
        Err(Problem::lacks(scope))
    }
}
