//! Problems of how the service is asked: by which name, and by whose pages.

use axum::http::StatusCode;
use shared::event::MAX_NAME_BYTES;

use super::Problem;

/// What a request names, short enough for an answer.
fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME_BYTES)]
}

impl Problem {
    /// 400: the host that a request asks for is not clear.
    pub fn invalid_host(wrong: &str) -> Self {
        Self::new(
            "urn:problem:invalid-host",
            "Invalid host",
            StatusCode::BAD_REQUEST,
            format!(
                "the header Host {wrong}; a request of HTTP/1.1 has exactly one, with the name or address and the port that it is sent to"
            ),
        )
    }

    /// 403: a browser says that a page of another site sent it.
    pub fn foreign_page() -> Self {
        Self::foreign(
            "a page of another site asks, by the header Sec-Fetch-Site; nothing was done. The service answers its own page, and programs, which do not send this header".to_owned(),
        )
    }

    /// 403: a page of another origin than the host that is asked sent it.
    pub fn foreign_origin(origin: &str, host: &str) -> Self {
        let (origin, host) = (shortened(origin), shortened(host));
        Self::foreign(format!(
            "the header Origin is {origin:?}, and the header Host is {host:?}, which is another site; nothing was done. A proxy in front of the service must pass on the Host that the browser sent, with its port, as in nginx with: proxy_set_header Host $http_host"
        ))
    }

    fn foreign(detail: String) -> Self {
        let kind = "urn:problem:foreign-origin";
        Self::new(kind, "Foreign origin", StatusCode::FORBIDDEN, detail)
    }

    /// 421: it is asked by a name that is not its own.
    pub fn unknown_host(host: &str) -> Self {
        let host = shortened(host);
        Self::new(
            "urn:problem:unknown-host",
            "Unknown host",
            StatusCode::MISDIRECTED_REQUEST,
            format!(
                "{host:?} is not an allowed host name: use an IP address or localhost, or start the aggregator with --allowed-hosts and that name. If this is not the name that you asked for, a proxy in front of the service has replaced it: have it pass on the header Host, as in nginx with: proxy_set_header Host $http_host"
            ),
        )
    }
}
