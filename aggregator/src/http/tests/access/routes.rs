//! The matrix: every route and method with every kind of token, and without one.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    access::Certificate,
    http::{
        edge::access::{
            Encrypted,
            scopes::{Needs, ROUTES},
        },
        tests::openapi::{brewed, routes},
    },
};

/// What each route answers to each kind of token, written down apart from the table that the service obeys.
const MATRIX: &str = include_str!("matrix.txt");

/// A route of the matrix.
struct Row {
    method: &'static str,
    path: &'static str,
    /// By kind of token.
    cells: BTreeMap<&'static str, &'static str>,
}

fn matrix() -> Vec<Row> {
    let mut lines = MATRIX.lines().filter(|line| !line.starts_with('#'));
    let kinds: Vec<_> = lines.next().unwrap().split_whitespace().skip(1).collect();
    let row = |line: &'static str| {
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let cells: Vec<_> = words.collect();
        assert_eq!(cells.len(), kinds.len(), "{line}");
        let cells = kinds.iter().copied().zip(cells).collect();
        Row {
            method,
            path,
            cells,
        }
    };
    lines.map(row).collect()
}

/// What the response to a token that lacks a scope names.
fn scope(path: &str, method: &str) -> &'static str {
    let mut routes = ROUTES.iter();
    let route = routes.find(|(of, known, _)| (*of, *known) == (method, path));
    match route.unwrap().2 {
        Needs::Nothing | Needs::Optional => unreachable!("{path} lacks nothing"),
        Needs::Publish => "publish",
        Needs::Read => "read",
        Needs::ReadAll => "read for every topic",
        Needs::Admin => "admin",
    }
}

/// A path with its parameters filled in.
fn filled(path: &str) -> String {
    path.replace("{id}", "1")
        .replace("/docs/{file}", "/docs/reader.js")
        .replace("{file}", "page.js")
}

/// How a token is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Bearer,
    Basic,
    Cookie,
    Certificate,
}

const WAYS: [Way; 4] = [Way::Bearer, Way::Basic, Way::Cookie, Way::Certificate];

#[tokio::test]
async fn every_route_and_method_answers_each_kind_of_token_as_the_matrix_says() {
    let (api, keys) = guarded().await;
    let mut asked = 0;
    for row in matrix() {
        let methods = if row.method == "GET" {
            &["GET", "HEAD", "OPTIONS"][..]
        } else {
            &[row.method, "OPTIONS"][..]
        };
        for method in methods {
            for kind in row.cells.keys() {
                for way in WAYS {
                    ask(&api, &keys, (method, &row), kind, way).await;
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 3_300, "{asked}");
}

async fn ask(api: &Fixture, keys: &Keys, (method, row): (&str, &Row), kind: &str, way: Way) {
    let path = row.path;
    let mut request = Request::builder().method(method).uri(filled(path));
    request = match way {
        _ if kind == "none" => request,
        Way::Bearer => request.header(header::AUTHORIZATION, keys.header(kind, false)),
        Way::Basic => request.header(header::AUTHORIZATION, keys.header(kind, true)),
        Way::Cookie => {
            let token = Secret::parse(&keys.text(kind)).unwrap().sha256();
            let sessions = &api.api.edge.authenticator.sessions;
            let id = sessions.begin(token, Instant::now());
            request.header(header::COOKIE, format!("aggregator_session={id}"))
        }
        Way::Certificate => request.extension(Encrypted {
            certificate: Some(Certificate {
                subject: subject(kind),
                expires: i64::MAX,
            }),
        }),
    };
    let request = from_somewhere(request.body(Body::empty()).unwrap());
    let answer = api.router.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    let challenge = answer.headers().get(header::WWW_AUTHENTICATE).cloned();
    let what = format!("{method} {path} with {kind} as {way:?}: {status}");
    let expected = match row.cells[kind] {
        _ if method == "OPTIONS" => "pass",
        // A browser whose session is over is not signed in, and a certificate that no entry names counts as none.
        "401" if [Way::Cookie, Way::Certificate].contains(&way) => row.cells["none"],
        cell => cell,
    };
    if expected == "pass" {
        // The form without a token is refused by itself.
        let is_form = path == "/sign-in";
        assert!(
            is_form || ![401, 403, 429].contains(&status.as_u16()),
            "{what}"
        );
        return;
    }
    assert_eq!(status.as_str(), expected, "{what}");
    assert_eq!(challenge.is_some(), expected == "401", "{what}");
    let content_type = &answer.headers()[header::CONTENT_TYPE];
    assert_eq!(content_type, "application/problem+json", "{what}");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body = std::str::from_utf8(&body).unwrap();
    if expected == "403" && method != "HEAD" {
        assert!(body.contains(scope(path, row.method)), "{what}: {body}");
    }
}

#[tokio::test]
async fn every_route_and_method_is_in_the_matrix_and_in_the_table_of_scopes() {
    let api = Fixture::new().await;
    let rows = matrix();
    let in_matrix: BTreeSet<_> = rows.iter().map(|row| (row.method, row.path)).collect();
    let in_table = ROUTES.iter().map(|(method, path, _)| (*method, *path));
    assert_eq!(in_matrix.len(), rows.len(), "each once");
    assert_eq!(in_table.collect::<BTreeSet<_>>(), in_matrix);
    let mut paths: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (method, path) in in_matrix {
        let methods = paths.entry(path).or_default();
        methods.insert(method.to_owned());
        if method == "GET" {
            methods.insert("HEAD".to_owned());
        }
    }
    let known: BTreeSet<_> = paths.keys().map(|path| (*path).to_owned()).collect();
    assert_eq!(routes(&api.router), known);
    for (path, methods) in paths {
        let (_, headers) = brewed(&api, &filled(path)).await;
        let allowed = headers[header::ALLOW].to_str().unwrap().split(',');
        // The only method of a route that needs no scope.
        let allowed = allowed.filter(|method| *method != "OPTIONS");
        let allowed: BTreeSet<_> = allowed.map(str::to_owned).collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

#[tokio::test]
async fn methods_and_paths_that_do_not_exist_give_nothing_away() {
    let (api, keys) = guarded().await;
    let send = async |method: &str, path: &str, token: Option<&str>| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(name) = token {
            request = request.header(header::AUTHORIZATION, keys.header(name, false));
        }
        let request = from_somewhere(request.body(Body::empty()).unwrap());
        api.router.clone().oneshot(request).await.unwrap()
    };
    assert_eq!(send("GET", "/nothing", None).await.status(), 404);
    assert_eq!(send("GET", "/publish", None).await.status(), 401);
    assert_eq!(send("DELETE", "/events", None).await.status(), 401);
    let other = send("DELETE", "/events", Some("publish")).await;
    assert_eq!(other.status(), 405);
    assert_eq!(other.headers()[header::ALLOW], "GET,HEAD");
    assert_eq!(send("OPTIONS", "/events", None).await.status(), 204);
}

#[tokio::test]
async fn health_without_a_token_is_only_a_status() {
    let (api, keys) = guarded().await;
    let alone = Request::get("/health").body(Body::empty()).unwrap();
    let (status, body) = api.send(alone).await;
    assert_eq!(status, 503);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let members: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["status", "timestamp"]);
    let (_, full) = api.get_as(&keys, "publish", "/health").await;
    assert!(
        full.contains("\"consumer\"") && full.contains("\"access\":\"tokens\""),
        "{full}"
    );
    let alone = Request::get("/readyz").body(Body::empty()).unwrap();
    assert_eq!(api.send(alone).await.1, "not ready\n");
    let (_, full) = api.get_as(&keys, "publish", "/readyz").await;
    assert!(full.contains("consumer: "), "{full}");
    let anonymous = Fixture::new().await;
    let health = anonymous.get("/health").await;
    assert!(health.contains("\"access\":\"anonymous\""), "{health}");
}

#[tokio::test]
async fn failed_attempts_of_an_address_are_limited_counted_and_never_stop_a_valid_token() {
    let (api, keys) = guarded().await;
    let from = async |name: &str| {
        let request = Request::get("/topics")
            .header(header::AUTHORIZATION, keys.header(name, false))
            .extension(Peer(Ipv4Addr::LOCALHOST.into()));
        let request = request.body(Body::empty()).unwrap();
        api.router.clone().oneshot(request).await.unwrap()
    };
    let mut limited = None;
    for _ in 0..10 {
        let answer = from("wrong").await;
        if answer.status() == 429 {
            limited = Some(answer);
        } else {
            assert!(limited.is_none() && answer.status() == 401);
        }
    }
    assert!(limited.unwrap().headers().contains_key(header::RETRY_AFTER));
    assert_eq!(from("reader").await.status(), 200);
    let (_, metrics) = api.get_as(&keys, "reader", "/metrics").await;
    let counted = "aggregator_http_authentication_failures_total 10";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
}

#[tokio::test]
async fn a_script_of_a_page_is_not_asked_for_a_password_by_the_browser() {
    let (api, _) = guarded().await;
    for (mode, expected) in [("cors", false), ("same-origin", false), ("navigate", true)] {
        let request = Request::get("/stats").header("sec-fetch-mode", mode);
        let answer = api
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap());
        let answer = answer.await.unwrap();
        let challenge = answer.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
        assert_eq!(challenge.contains("Basic"), expected, "{mode}");
        assert!(challenge.contains("Bearer"), "{mode}");
    }
}
