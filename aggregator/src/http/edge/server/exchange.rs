//! A request and its response, between the connection and the routes.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    body::Body,
    extract::Request,
    http::{
        self, HeaderMap, HeaderValue, header,
        uri::{PathAndQuery, Uri},
    },
    response::Response,
};
use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tower::Service;

use super::{
    deadline::{self, Deadline},
    progress::Progress,
};

/// The service that answers the requests of all connections. It must always be ready.
pub trait Routes:
    Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<T> Routes for T where
    T: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Answers a request of a connection.
pub async fn answer(
    mut routes: impl Routes,
    progress: Progress,
    mut request: http::Request<Incoming>,
) -> Result<Response, Infallible> {
    tidied(&mut request);
    if request.body().is_end_stream() {
        progress.whole();
    } else {
        progress.body_follows();
    }
    let received = |body| {
        Body::new(Received {
            body,
            progress: progress.clone(),
        })
    };
    let mut answer = routes.call(request.map(received)).await?;
    progress.answers(deadline_of(&mut answer));
    let headers = answer.headers_mut();
    if progress.is_body_unread() {
        // The rest of the body would have to be read before the next request.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    allow_options(headers);
    Ok(answer)
}

/// When the client must have read a response: as its extensions say, or by its length.
pub(super) fn deadline_of(answer: &mut Response) -> Deadline {
    answer.extensions_mut().remove().unwrap_or_else(|| {
        let deadline = Deadline::default();
        if let Some(bytes) = answer.body().size_hint().exact() {
            deadline.set(deadline::of(usize::try_from(bytes).unwrap_or(usize::MAX)));
        }
        deadline
    })
}

/// A request body that reports when it was read to its end.
struct Received {
    body: Incoming,
    progress: Progress,
}

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let is_whole = match &frame {
            Some(Ok(_)) => self.body.is_end_stream(),
            Some(Err(_)) => false,
            None => true,
        };
        if is_whole {
            self.progress.whole();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Removes redundant slashes from the target of a request.
pub(super) fn tidied<B>(request: &mut http::Request<B>) {
    if let Some(tidy) = tidy(request.uri()) {
        *request.uri_mut() = tidy;
    }
}

/// The target without redundant slashes, or `None` if it has none. A base address that ends with a slash turns `/v1/logs`
/// into `//v1/logs`, and some clients end each path with a slash.
fn tidy(uri: &Uri) -> Option<Uri> {
    let mut tidy = tidy_path(uri.path())?;
    if let Some(query) = uri.query() {
        tidy.push('?');
        tidy.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(tidy).ok()?);
    Uri::from_parts(parts).ok()
}

fn tidy_path(path: &str) -> Option<String> {
    let is_doubled = path.contains("//");
    // The links of the page at /docs are relative to the path without a slash.
    let ends = path.len() > 1 && path.ends_with('/') && path.trim_matches('/') != "docs";
    if !is_doubled && !ends {
        return None;
    }
    let mut tidy = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !tidy.ends_with('/') {
            tidy.push(character);
        }
    }
    if ends && tidy.len() > 1 {
        tidy.pop();
    }
    Some(tidy)
}

/// Adds OPTIONS to `Allow`: every path supports it, and routes only list their own methods.
pub(super) fn allow_options(headers: &mut HeaderMap) {
    let Some(allow) = headers.get_mut(header::ALLOW) else {
        return;
    };
    let methods = allow.to_str().unwrap_or_default();
    if !methods.split(',').any(|method| method.trim() == "OPTIONS") {
        let methods = format!("{methods},OPTIONS");
        *allow = HeaderValue::try_from(methods).expect("methods are tokens");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_and_trailing_slashes_are_removed_from_a_path() {
        for (target, tidied) in [
            ("//v1/logs", "/v1/logs"),
            ("/v1//logs", "/v1/logs"),
            ("/v1/logs/", "/v1/logs"),
            ("///v1///logs///?a=//b/", "/v1/logs?a=//b/"),
            ("/publish/?wait=stored", "/publish?wait=stored"),
            ("//", "/"),
            ("//?topic=a", "/?topic=a"),
            ("//docs//reader.js", "/docs/reader.js"),
            ("//docs", "/docs"),
            ("http://localhost//stats/", "http://localhost/stats"),
        ] {
            let uri = tidy(&target.parse().unwrap()).unwrap();
            assert_eq!(uri.to_string(), tidied, "{target}");
        }
        for target in [
            "/",
            "*",
            "/stats",
            "/events?topic=a//b/",
            "/v1%2Flogs",
            "/v1/logs%2F",
            "/docs/",
            "localhost:80",
        ] {
            assert_eq!(tidy(&target.parse().unwrap()), None, "{target}");
        }
    }

    #[test]
    fn every_path_that_names_its_methods_allows_options() {
        for (methods, allowed) in [
            ("GET,HEAD", "GET,HEAD,OPTIONS"),
            ("POST,OPTIONS", "POST,OPTIONS"),
            ("POST, OPTIONS", "POST, OPTIONS"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
            allow_options(&mut headers);
            assert_eq!(headers[header::ALLOW], allowed);
        }
        let mut without = HeaderMap::new();
        allow_options(&mut without);
        assert!(without.is_empty());
    }
}
