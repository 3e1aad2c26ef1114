//! Protects users whose browser is open on another site: only allowed host names are served, only the service's own pages may
//! send requests that change something, and a content security policy restricts these pages.

mod hosts;

use axum::{
    extract::Request,
    http::{
        HeaderName, HeaderValue, Method, Version,
        header::{self, HeaderMap},
        uri::Uri,
    },
    response::{IntoResponse, Response},
};

use self::hosts::HostPort;
pub use self::hosts::Hosts;
use super::{access::Encrypted, problem::Problem};
use crate::http::openapi::refusals::{problems, refusals};

/// Pages load and request same-origin resources only, run no inline scripts, and cannot be framed.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The other headers of every response.
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

/// Refuses requests that another site's page may have sent and ambiguous ones, and adds the security headers to every
/// response. A response that already has a policy keeps it.
pub async fn guard<F: Future<Output = Response>>(
    hosts: &Hosts,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let mut response = match check(hosts, &request) {
        Ok(()) => next(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(value);
    }
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(POLICY);
    response
}

fn check(hosts: &Hosts, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    check_coding(headers)?;
    let requested = requested(request.uri(), request.version(), headers)?;
    if let Some(requested) = &requested
        && !hosts.has(&requested.name)
    {
        return Err(Problem::unknown_host(&requested_host(request)));
    }
    if is_cross_site(headers) {
        return Err(Problem::foreign_page());
    }
    let is_change = ![Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let mut origins = headers.get_all(header::ORIGIN).into_iter();
    let is_encrypted = request.extensions().get::<Encrypted>().is_some();
    // Programs send no `Origin`.
    let foreign = origins.find(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        !requested
            .as_ref()
            .is_some_and(|requested| requested.is_of_origin(origin, is_encrypted))
    });
    match foreign {
        Some(origin) if is_change => Err(Problem::foreign_origin(
            &String::from_utf8_lossy(origin.as_bytes()),
            &requested_host(request),
        )),
        _ => Ok(()),
    }
}

/// A body in a transfer coding other than `chunked` cannot be read (RFC 9112, 6.1). hyper ensures that `chunked` is the last.
fn check_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let lines = headers.get_all(header::TRANSFER_ENCODING).into_iter();
    let codings = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let mut codings = codings
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty());
    let (first, second) = (codings.next(), codings.next());
    let is_known = first.is_none_or(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    if is_known && second.is_none() {
        return Ok(());
    }
    Err(Problem::unknown_transfer_coding())
}

/// The host and port that a request names. Those of its target take precedence over `Host`, which is required nevertheless
/// (RFC 9112, 3.2), except with HTTP/1.0, and with HTTP/2 if the target has them (RFC 9113, 8.3.1).
fn requested(
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
) -> Result<Option<HostPort>, Problem> {
    let mut named = headers.get_all(header::HOST).into_iter();
    let host = match (named.next(), named.next()) {
        (None, _) if version < Version::HTTP_11 => None,
        (None, _) if version == Version::HTTP_2 && uri.authority().is_some() => None,
        (None, _) => return Err(Problem::invalid_host("is missing")),
        (Some(_), Some(_)) => return Err(Problem::invalid_host("is given more than once")),
        (Some(host), None) => {
            let host = host.to_str().ok().and_then(HostPort::parse);
            Some(host.ok_or_else(|| Problem::invalid_host("is not a host name"))?)
        }
    };
    match uri.authority() {
        Some(target) => {
            let target = HostPort::parse(target.as_str());
            let target = target.ok_or_else(|| Problem::invalid_host("is not a host name"))?;
            Ok(Some(target))
        }
        None => Ok(host),
    }
}

/// Whether a text is a host, with a port or without one.
pub fn is_host(text: &str) -> bool {
    HostPort::parse(text).is_some()
}

/// The host that a request names, as written.
fn requested_host(request: &Request) -> String {
    let host = request.headers().get(header::HOST);
    let target = request.uri().authority();
    let named = target
        .map(|target| target.as_str().as_bytes())
        .or_else(|| host.map(HeaderValue::as_bytes));
    String::from_utf8_lossy(named.unwrap_or_default()).into_owned()
}

/// Whether the browser says that another site's page sent the request (<https://www.w3.org/TR/fetch-metadata/>). Such a page
/// could not read the response, but it could put load on the service. Following a link from another site is allowed.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let is = |name, value: &str| headers.get(name).is_some_and(|given| given == value);
    is("sec-fetch-site", "cross-site") && !is("sec-fetch-mode", "navigate")
}

refusals! {
    /// Of a request for a host name that is not allowed.
    HostRefusals = problems([Problem::unknown_host("evil.example")]);

    /// Of a request from a page of another site.
    OriginRefusals = problems([
        Problem::foreign_origin("http://evil.example", "127.0.0.1:8080"),
        Problem::foreign_page(),
    ]);
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn problem(method: Method, version: Version, headers: &[(&str, &str)]) -> Option<Problem> {
        let request = Request::builder().method(method).version(version);
        let request = headers
            .iter()
            .fold(request.uri("/publish"), |request, (name, value)| {
                request.header(*name, *value)
            });
        let hosts = ["Aggregator", "logs.example.", "named.example:8443", ""];
        let hosts = Hosts::new(&hosts.map(str::to_owned));
        check(&hosts, &request.body(Body::empty()).unwrap()).err()
    }

    fn checked(method: Method, headers: &[(&str, &str)]) -> Option<u16> {
        problem(method, Version::HTTP_11, headers).map(|problem| problem.status().as_u16())
    }

    #[test]
    fn addresses_localhost_and_configured_names_are_allowed() {
        for host in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "[2001:db8::7]",
            "localhost",
            "LOCALHOST:1",
            "aggregator:8080",
            "named.example",
            "192.168.1.7",
        ] {
            assert_eq!(checked(Method::GET, &[("host", host)]), None, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "aggregator2",
            "localhost..",
        ] {
            let status = checked(Method::GET, &[("host", host)]);
            assert_eq!(status, Some(421), "{host}");
        }
    }

    #[test]
    fn a_rooted_name_is_the_same_name() {
        for host in [
            "localhost.",
            "localhost.:8080",
            "Aggregator.",
            "logs.example",
            "LOGS.example.",
            "named.example.:443",
            "127.0.0.1.:8080",
        ] {
            assert_eq!(checked(Method::GET, &[("host", host)]), None, "{host}");
        }
        let own = |host, origin| checked(Method::POST, &[("host", host), ("origin", origin)]);
        assert_eq!(own("localhost.:8080", "http://localhost:8080"), None);
        assert_eq!(own("logs.example", "https://logs.example."), None);
    }

    #[test]
    fn http_1_1_requires_exactly_one_valid_host() {
        let status = |version, headers: &[_]| {
            problem(Method::GET, version, headers).map(|problem| problem.status().as_u16())
        };
        let twice = [("host", "localhost"), ("host", "localhost")];
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert_eq!(status(version, &twice), Some(400));
            for host in [
                "",
                ":8080",
                "a b",
                "localhost:port",
                "localhost:99999",
                "user@localhost",
                "localhost/stats",
                "[::1",
                "[localhost]",
            ] {
                assert_eq!(status(version, &[("host", host)]), Some(400), "{host}");
            }
        }
        assert_eq!(status(Version::HTTP_11, &[]), Some(400));
        assert_eq!(status(Version::HTTP_10, &[]), None);
    }

    #[test]
    fn the_host_of_the_target_takes_precedence() {
        let status = |target: &str, host: Option<&str>| {
            let request = Request::get(target);
            let request = match host {
                Some(host) => request.header("host", host),
                None => request,
            };
            let checked = check(&Hosts::default(), &request.body(Body::empty()).unwrap());
            checked.err().map(|problem| problem.status().as_u16())
        };
        assert_eq!(status("http://localhost/stats", Some("evil.example")), None);
        let evil = "http://evil.example/stats";
        assert_eq!(status(evil, Some("localhost")), Some(421));
        assert_eq!(status("http://localhost/stats", None), Some(400));
    }

    #[test]
    fn a_transfer_coding_other_than_chunked_is_501() {
        let coded = |codings: &[&str]| {
            let headers = codings.iter().map(|coding| ("transfer-encoding", *coding));
            let headers: Vec<_> = headers.chain([("host", "localhost")]).collect();
            checked(Method::POST, &headers)
        };
        for plain in [&["chunked"], &["Chunked"], &[" , chunked ,"]] {
            assert_eq!(coded(plain), None, "{plain:?}");
        }
        for other in [
            &["gzip, chunked"] as &[_],
            &["gzip", "chunked"],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &["identity, chunked"],
            &["x-own;a=b,chunked"],
            &["chunked;a=b"],
            &["gzip"],
        ] {
            assert_eq!(coded(other), Some(501), "{other:?}");
        }
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
            "http://evil.example@localhost:8080",
            "ftp://localhost:8080",
            "localhost:8080",
            "",
        ] {
            assert_eq!(from(foreign), Some(403), "{foreign}");
        }
        let reads = [("host", "localhost"), ("origin", "http://evil.example")];
        assert_eq!(checked(Method::GET, &reads), None);
        assert_eq!(checked(Method::POST, &[("host", "localhost")]), None);
        let picture = [
            ("host", "localhost"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "no-cors"),
        ];
        assert_eq!(checked(Method::GET, &picture), Some(403));
        let link = [
            ("host", "localhost"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ];
        assert_eq!(checked(Method::GET, &link), None);
    }

    #[test]
    fn the_default_port_of_a_scheme_is_the_same_origin_with_and_without_it() {
        let own = |host, origin| checked(Method::POST, &[("host", host), ("origin", origin)]);
        for (host, origin) in [
            ("logs.example:443", "https://logs.example"),
            ("logs.example", "https://logs.example:443"),
            ("logs.example", "https://logs.example"),
            ("logs.example:80", "http://logs.example"),
            ("logs.example", "http://logs.example:80"),
            ("LOGS.example:443", "https://logs.EXAMPLE"),
            ("logs.example:", "https://logs.example"),
            ("127.0.0.1:80", "http://127.0.0.1"),
            ("[::1]:443", "https://[::1]"),
            ("[0:0:0:0:0:0:0:1]", "https://[::1]:443"),
        ] {
            assert_eq!(own(host, origin), None, "{host} {origin}");
        }
        for (host, origin) in [
            ("logs.example:80", "https://logs.example"),
            ("logs.example:443", "http://logs.example"),
            ("logs.example:8443", "https://logs.example"),
            ("logs.example", "https://logs.example:8443"),
            ("logs.example", "https://aggregator"),
            ("[::1]", "https://[::2]"),
        ] {
            assert_eq!(own(host, origin), Some(403), "{host} {origin}");
        }
    }

    #[test]
    fn a_refused_origin_names_both_and_what_a_proxy_must_forward() {
        let headers = [
            ("host", "127.0.0.1:8080"),
            ("origin", "https://logs.example"),
        ];
        let problem = problem(Method::POST, Version::HTTP_11, &headers).unwrap();
        for part in [
            "\"https://logs.example\"",
            "\"127.0.0.1:8080\"",
            "proxy",
            "Host",
        ] {
            assert!(problem.detail().contains(part), "{}", problem.detail());
        }
    }
}
