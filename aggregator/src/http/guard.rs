//! What protects people whose browser is open on another site: under which names the service is asked, that requests
//! which change something come from its own pages, and what its pages may do.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{
        HeaderName, HeaderValue, Method,
        header::{self, HeaderMap},
        uri::{Authority, Uri},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::problem::Problem;

/// A page loads and asks nothing but what comes from here, runs no script that stands in it, and cannot be framed.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// What else every answer says. An answer that has the policy already keeps its own.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// The names, in lower case, by which the service may be asked, beside `localhost` and every IP address.
///
/// A site that makes its own name point to this machine, to be same-origin with the service (DNS rebinding), is none
/// of them; under an address that cannot be done.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Arc<[String]>);

impl Hosts {
    /// With these names beside.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        let names = names.iter().filter(|name| !name.is_empty());
        Self(names.map(|name| name.to_ascii_lowercase()).collect())
    }

    fn has(&self, authority: &Authority) -> bool {
        let host = authority.host();
        let address = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        address.unwrap_or(host).parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// Refuses what another site's page may have sent, and tells browsers what pages from here may do.
pub async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let mut response = match check(&hosts, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.extend(HEADERS);
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(POLICY);
    response
}

fn check(hosts: &Hosts, request: &Request) -> Result<(), Problem> {
    let asked = asked(request.uri(), request.headers())?;
    // Browsers always name the host; HTTP/1.0 clients need not.
    if let Some(asked) = &asked
        && !hosts.has(asked)
    {
        return Err(Problem::unknown_host(asked.host()));
    }
    if is_from_elsewhere(request.headers()) {
        return Err(Problem::foreign_origin());
    }
    let is_change = ![Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if is_change && !is_same_origin(request.headers(), asked.as_ref()) {
        return Err(Problem::foreign_origin());
    }
    Ok(())
}

/// The host that a request names, which the target's goes before (RFC 9112, 3.2.2).
fn asked(uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>, Problem> {
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.clone()));
    }
    let mut named = headers.get_all(header::HOST).into_iter();
    match (named.next(), named.next()) {
        (None, _) => Ok(None),
        (Some(host), None) => {
            let authority = Authority::try_from(host.as_bytes());
            authority
                .map(Some)
                .map_err(|_| Problem::unknown_host("what it says"))
        }
        (Some(_), Some(_)) => Err(Problem::unknown_host("more than one")),
    }
}

/// Whether another site's page asks, as browsers tell (<https://www.w3.org/TR/fetch-metadata/>): it could not read the
/// answer, but have the service work. A link from there may be followed.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let is = |name, value: &str| headers.get(name).is_some_and(|told| told == value);
    is("sec-fetch-site", "cross-site") && !is("sec-fetch-mode", "navigate")
}

/// Whether a request comes from a page of this service, or from no page: programs send no `Origin`.
fn is_same_origin(headers: &HeaderMap, asked: Option<&Authority>) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).into_iter().peekable();
    if origins.peek().is_none() {
        return true;
    }
    let is_ours = |origin: &HeaderValue| {
        let origin = origin.to_str().unwrap_or("");
        let host = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        host.zip(asked)
            .is_some_and(|(host, asked)| asked.as_str().eq_ignore_ascii_case(host))
    };
    origins.all(is_ours)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn checked(method: Method, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().method(method).uri("/publish");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let hosts = Hosts::new(&["Aggregator".to_owned()]);
        let checked = check(&hosts, &request.body(Body::empty()).unwrap());
        checked.err().map(|problem| problem.status().as_u16())
    }

    #[test]
    fn it_is_asked_by_address_as_localhost_or_by_a_name_that_is_configured() {
        for host in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "localhost",
            "LOCALHOST:1",
            "aggregator:8080",
            "192.168.1.7",
        ] {
            assert_eq!(checked(Method::GET, &[("host", host)]), None, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "aggregator2",
            "",
            "a b",
        ] {
            let status = checked(Method::GET, &[("host", host)]);
            assert_eq!(status, Some(421), "{host}");
        }
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(checked(Method::GET, &twice), Some(421));
        assert_eq!(checked(Method::GET, &[]), None);
    }

    #[test]
    fn a_change_comes_from_a_page_of_the_service_or_from_no_page() {
        let from = |origin: &str| {
            let headers = [("host", "localhost:8080"), ("origin", origin)];
            checked(Method::POST, &headers)
        };
        assert_eq!(from("http://localhost:8080"), None);
        assert_eq!(from("https://localhost:8080"), None);
        for foreign in [
            "null",
            "http://localhost",
            "http://localhost:8081",
            "http://evil.example",
            "http://evil.example/localhost:8080",
            "localhost:8080",
            "",
        ] {
            assert_eq!(from(foreign), Some(403), "{foreign}");
        }
        let reads = [("host", "localhost"), ("origin", "http://evil.example")];
        assert_eq!(checked(Method::GET, &reads), None);
        assert_eq!(checked(Method::POST, &[("host", "localhost")]), None);
        let picture = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "no-cors"),
        ];
        assert_eq!(checked(Method::GET, &picture), Some(403));
        let link = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ];
        assert_eq!(checked(Method::GET, &link), None);
    }
}
