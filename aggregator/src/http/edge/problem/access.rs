//! Problems of access: the host name of a request, and the site whose page sent it.

use axum::http::StatusCode;
use shared::event::MAX_NAME_BYTES;

use super::Problem;

/// A name from a request, short enough for a response.
fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME_BYTES)]
}

impl Problem {
    /// 400: the host that a request names is missing or ambiguous.
    pub fn invalid_host(wrong: &str) -> Self {
        Self::new(
            "urn:problem:invalid-host",
            "Invalid host",
            StatusCode::BAD_REQUEST,
            format!(
                "the Host header {wrong}; an HTTP/1.1 request has exactly one, with the name or address and the port that it is sent to"
            ),
        )
    }

    /// 403: a browser says that a page of another site sent it.
    pub fn foreign_page() -> Self {
        Self::foreign(
            "the Sec-Fetch-Site header says that a page of another site sent this request; nothing was done. The service answers its own page, and programs that do not send this header".to_owned(),
        )
    }

    /// 403: a page whose origin is not the requested host sent it.
    pub fn foreign_origin(origin: &str, host: &str) -> Self {
        let (origin, host) = (shortened(origin), shortened(host));
        Self::foreign(format!(
            "the Origin header is {origin:?}, but the Host header is {host:?}, which is another site; nothing was done. A proxy in front of the service must forward the browser's Host header with its port; in nginx: proxy_set_header Host $http_host"
        ))
    }

    fn foreign(detail: String) -> Self {
        let kind = "urn:problem:foreign-origin";
        Self::new(kind, "Foreign origin", StatusCode::FORBIDDEN, detail)
    }

    /// 421: the host name is not allowed.
    pub fn unknown_host(host: &str) -> Self {
        let host = shortened(host);
        Self::new(
            "urn:problem:unknown-host",
            "Unknown host",
            StatusCode::MISDIRECTED_REQUEST,
            format!(
                "{host:?} is not an allowed host name: use an IP address or localhost, or start the aggregator with --allowed-hosts and that name. If this is not the name that you requested, a proxy in front of the service has replaced it: configure it to forward the Host header; in nginx: proxy_set_header Host $http_host"
            ),
        )
    }
}
