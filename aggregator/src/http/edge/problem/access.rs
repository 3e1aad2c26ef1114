//! Problems of access: the host name of a request, the site whose page sent it, and what its token allows.

use std::time::Duration;

use axum::http::StatusCode;
use shared::event::MAX_NAME_BYTES;

use super::Problem;
use crate::access::Subject;

/// A name from a request, short enough for a response.
fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME_BYTES)]
}

/// Rounded up, since a client that comes earlier is refused again.
fn whole_seconds(pause: Duration) -> Duration {
    Duration::from_secs(pause.as_secs() + u64::from(pause.subsec_nanos() > 0))
}

impl Problem {
    /// 401: there is no token.
    pub fn no_token() -> Self {
        Self::unauthorized(
            "this request needs a token: send the header Authorization: Bearer TOKEN, or Basic with the token as the password",
        )
    }

    /// 401: the header cannot be read.
    pub fn wrong_credentials() -> Self {
        Self::unauthorized(
            "the header Authorization must be given once, as Bearer TOKEN, or as Basic with the token as the password",
        )
    }

    /// 401: there is no such token, or no longer.
    pub fn wrong_token() -> Self {
        Self::unauthorized("the token is not valid: it is mistyped, or has been revoked")
    }

    /// 401: the token has ended.
    pub fn expired_token() -> Self {
        Self::unauthorized("the token has expired")
    }

    /// 401: no entry of the tokens file has the subject of the client certificate, or it or the entry has ended.
    pub fn unknown_certificate(subject: &Subject) -> Self {
        let subject = subject.to_string();
        let subject = shortened(&subject);
        Self::unauthorized(&format!(
            "the client certificate of {subject:?} gives no access: the tokens file has no entry with this subject, or the entry or the certificate has expired. A token in the header Authorization would give it"
        ))
    }

    /// 400: a request that is not encrypted, on a port that only speaks TLS. `host` is that of the request, if it names a valid one.
    pub fn not_encrypted(host: Option<&str>) -> Self {
        let address = host.map_or_else(
            || "an address that begins with https://".to_owned(),
            |host| format!("https://{}", shortened(host)),
        );
        Self::new(
            "urn:problem:not-encrypted",
            "Not encrypted",
            StatusCode::BAD_REQUEST,
            format!("this port speaks HTTPS only: send the request to {address}; nothing was done"),
        )
    }

    fn unauthorized(detail: &str) -> Self {
        let kind = "urn:problem:unauthorized";
        let status = StatusCode::UNAUTHORIZED;
        Self::new(kind, "No valid token", status, detail.to_owned())
    }

    /// 429: too many attempts of this address failed.
    pub fn too_many_failures(pause: Duration) -> Self {
        let detail = "too many requests of this address had a token that is not valid; requests with a valid one are answered";
        Self {
            retry_after: Some(whole_seconds(pause)),
            ..Self::new(
                "urn:problem:too-many-failures",
                "Too many attempts",
                StatusCode::TOO_MANY_REQUESTS,
                detail.to_owned(),
            )
        }
    }

    /// 403: the token lacks this scope.
    pub fn lacks(scope: &str) -> Self {
        Self::forbidden(format!(
            "the token lacks the scope that this request needs: {scope}"
        ))
    }

    /// 403: the token lacks a scope for this topic, which the request names.
    pub fn lacks_topic(scope: &str, topic: &str) -> Self {
        let done = if scope == "publish" {
            "; nothing was published"
        } else {
            ""
        };
        Self::forbidden(format!(
            "the token lacks the scope {scope} for the topic {topic:?}{done}"
        ))
    }

    fn forbidden(detail: String) -> Self {
        let kind = "urn:problem:forbidden";
        Self::new(kind, "Not allowed", StatusCode::FORBIDDEN, detail)
    }

    /// 429: the token's rate does not allow the events now.
    pub fn rate_exceeded(per_second: u32, pause: Duration) -> Self {
        Self {
            retry_after: Some(whole_seconds(pause)),
            ..Self::new(
                "urn:problem:rate-exceeded",
                "Rate exceeded",
                StatusCode::TOO_MANY_REQUESTS,
                format!(
                    "the token allows {per_second} events per second; nothing was published. Send the request again later"
                ),
            )
        }
    }

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
