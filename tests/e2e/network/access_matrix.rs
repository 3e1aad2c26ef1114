//! The matrix of a running service: every route and method with every kind of token, and each way to send one.

use std::{
    collections::BTreeSet,
    fs::{read_to_string, write},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use e2e::{
    System,
    event::event,
    service::Signal,
    wait::{eventually, holds},
};
use rand::distr::{Alphanumeric, SampleString};
use reqwest::{
    Client, ClientBuilder, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, LOCATION, SET_COOKIE},
    redirect::Policy,
};

use super::tokens::token;

/// What each route answers. The router's own tests compare its routes with it.
const MATRIX: &str = include_str!("../../../aggregator/src/http/tests/access/matrix.txt");

/// What `aggregator token create` gets for each kind of token. `expired` and `revoked` end after they signed in.
const TOKENS: [(&str, &[&str]); 9] = [
    ("expired", &["--publish", "*", "--read", "*", "--admin"]),
    ("revoked", &["--publish", "*", "--read", "*", "--admin"]),
    ("nothing", &[]),
    ("publish", &["--publish", "orders.*"]),
    ("one", &["--read", "orders.eu"]),
    ("pattern", &["--read", "orders.*"]),
    ("reader", &["--read", "*"]),
    ("admin", &["--admin"]),
    (
        "operator",
        &["--admin", "--publish", "orders.*", "--read", "orders.*"],
    ),
];

/// How a token is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Bearer,
    Basic,
    Cookie,
}

const WAYS: [Way; 3] = [Way::Bearer, Way::Basic, Way::Cookie];

/// A kind of token.
struct Key {
    kind: &'static str,
    token: String,
    /// The cookie of a session that began with it.
    cookie: String,
}

impl Key {
    /// A client that sends it with each request in this way. Each has an address of its own, because failed attempts are limited
    /// for each address.
    fn client(&self, way: Way, number: u8) -> Client {
        let (name, value): (HeaderName, _) = match way {
            Way::Bearer => (AUTHORIZATION, format!("Bearer {}", self.token)),
            Way::Basic => {
                let text = BASE64.encode(format!("anybody:{}", self.token));
                (AUTHORIZATION, format!("Basic {text}"))
            }
            Way::Cookie => (COOKIE, self.cookie.clone()),
        };
        let mut headers = HeaderMap::new();
        if self.kind != "none" {
            headers.insert(name, value.parse().unwrap());
        }
        let address = [127, 0, 1, number];
        let client = plain().local_address(Some(address.into()));
        client.default_headers(headers).build().unwrap()
    }
}

fn plain() -> ClientBuilder {
    Client::builder().no_proxy().redirect(Policy::none())
}

/// A service with all kinds of tokens, and with sessions of those that can sign in.
async fn guarded(directory: &Path) -> (System, Vec<Key>) {
    let file = directory.join("tokens.toml");
    let mut keys = Vec::new();
    for (kind, flags) in TOKENS {
        let token = token(&file, &[&["create", kind], flags].concat()).await;
        let cookie = String::new();
        keys.push(Key {
            kind,
            token,
            cookie,
        });
    }
    let mut system = System::with(&["--tokens", file.to_str().unwrap()]).await;
    let base = system.api().url().to_owned();
    for key in &mut keys {
        key.cookie = sign_in(&base, &key.token).await;
    }
    let random = Alphanumeric.sample_string(&mut rand::rng(), 64);
    for (kind, token) in [("none", String::new()), ("wrong", format!("agg_{random}"))] {
        let cookie = format!("aggregator_session={random}");
        keys.push(Key {
            kind,
            token,
            cookie,
        });
    }
    end(&mut system, &file, &keys).await;
    (system, keys)
}

async fn sign_in(base: &str, token: &str) -> String {
    let request = plain().build().unwrap().post(format!("{base}/sign-in"));
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let answer = request.body(format!("token={token}")).send().await.unwrap();
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()[LOCATION], "./");
    let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// Ends the tokens `expired` and `revoked`, and waits until the service knows.
async fn end(system: &mut System, file: &Path, keys: &[Key]) {
    token(file, &["revoke", "revoked"]).await;
    let text = read_to_string(file).unwrap();
    let name = "name = \"expired\"\n";
    let expired = text.replace(name, &format!("{name}expires = 2020-01-01T00:00:00Z\n"));
    assert_ne!(text, expired);
    write(file, expired).unwrap();
    system.aggregator.service().signal(Signal::HUP);
    for ended in ["expired", "revoked"] {
        let key = keys.iter().find(|key| key.kind == ended).unwrap();
        let api = system.api().with_token(&key.token);
        eventually("the token has ended", async || {
            let stats = api.get("/stats").await?;
            holds(stats.status != 200, stats.text())
        })
        .await;
    }
}

/// Stores events, duplicates, conflicts and rejected arrivals of two topics.
async fn fill(system: &System, keys: &[Key]) {
    for topic in ["orders.eu", "secret"] {
        let subject = format!("events.{topic}");
        let first = event(topic, "1");
        let other = first.clone().with_payload(r#"{"n":2}"#);
        for body in [
            first.json(),
            first.json(),
            other.json(),
            "\"noise\"".to_owned(),
        ] {
            system.put(&subject, &body).await;
        }
    }
    let reader = keys.iter().find(|key| key.kind == "reader").unwrap();
    let reader = system.api().with_token(&reader.token);
    reader.received_at_least(8).await;
}

/// Whether a response is to a request that passed: what is read is there, and what is published is confirmed.
fn is_served(method: &str, path: &str, status: u16) -> bool {
    match (method, path) {
        ("GET" | "HEAD", _) | ("POST", "/publish" | "/cloudevents" | "/v1/logs") => status == 200,
        // The form without a token is refused by itself.
        ("POST", "/sign-in") => true,
        _ => ![401, 403, 429].contains(&status),
    }
}

async fn send(client: &Client, base: &str, method: &str, path: &str) -> Response {
    let target = path
        .replace("{id}", "1")
        .replace("/docs/{file}", "/docs/reader.js")
        .replace("{file}", "page.js");
    let target = match path {
        "/event" => "/event?topic=orders.eu&event_id=1",
        _ => &target,
    };
    let request = client.request(method.parse().unwrap(), format!("{base}{target}"));
    let body = (method == "POST").then_some(path).and_then(|path| match path {
        "/publish" => Some(("application/json", event("orders.eu", "2").json())),
        "/cloudevents" => Some(("application/cloudevents+json", r#"{"specversion":"1.0","type":"orders.eu","source":"s","id":"3","time":"2026-01-31T12:00:00Z"}"#.to_owned())),
        "/v1/logs" => Some(("application/json", r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"orders.eu"}}]},"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}"#.to_owned())),
        _ => None,
    });
    let request = match body {
        Some((kind, body)) => request.header(CONTENT_TYPE, kind).body(body),
        None => request,
    };
    request.send().await.unwrap()
}

/// The lists of what may be read.
const LISTS: [&str; 5] = [
    "/events",
    "/duplicates",
    "/topics",
    "/rejected",
    "/conflicts",
];

/// Checks that a list has all topics that the token may read, and no others.
async fn check_visible(kind: &str, path: &str, answer: Response) {
    if LISTS.contains(&path) {
        let text = answer.text().await.unwrap();
        let seen = ["orders.eu", "secret"].map(|topic| text.contains(topic));
        assert_eq!(seen, [true, kind == "reader"], "{path} with {kind}: {text}");
    }
}

#[tokio::test]
async fn every_route_and_method_answers_each_kind_of_token_in_each_way_as_the_matrix_says() {
    let directory = tempfile::tempdir().unwrap();
    let (system, keys) = guarded(directory.path()).await;
    fill(&system, &keys).await;
    let base = system.api().url();
    let mut lines = MATRIX.lines().filter(|line| !line.starts_with('#'));
    let kinds: Vec<_> = lines.next().unwrap().split_whitespace().skip(1).collect();
    let mut rows: Vec<Vec<_>> = lines
        .map(|line| line.split_whitespace().collect())
        .collect();
    documented(&system, &rows).await;
    // It ends the session.
    rows.sort_by_key(|row| row[1] == "/sign-out");
    let (mut asked, mut number) = (0, 0);
    for key in &keys {
        let column = kinds.iter().position(|kind| *kind == key.kind).unwrap() + 2;
        let none = kinds.iter().position(|kind| *kind == "none").unwrap() + 2;
        for way in WAYS {
            number += 1;
            let client = key.client(way, number);
            for row in &rows {
                let methods = if row[0] == "GET" {
                    &["GET", "HEAD", "OPTIONS"][..]
                } else {
                    &[row[0], "OPTIONS"]
                };
                for method in methods {
                    let expected = match row[column] {
                        _ if *method == "OPTIONS" => "pass",
                        // A browser whose session is over is not signed in.
                        "401" if way == Way::Cookie => row[none],
                        cell => cell,
                    };
                    let answer = send(&client, base, method, row[1]).await;
                    let status = answer.status().as_u16();
                    let what =
                        format!("{method} {} with {} as {way:?}: {status}", row[1], key.kind);
                    match expected {
                        "pass" => assert!(is_served(method, row[1], status), "{what}"),
                        refused => assert_eq!(status.to_string(), refused, "{what}"),
                    }
                    if (*method, expected) == ("GET", "pass") {
                        check_visible(key.kind, row[1], answer).await;
                    }
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 2_500, "{asked}");
}

/// Checks that each documented operation is in the matrix.
async fn documented(system: &System, rows: &[Vec<&str>]) {
    let known: BTreeSet<_> = rows.iter().map(|row| (row[0], row[1])).collect();
    let document = system.api().get("/openapi.json").await.unwrap().json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let is_known = method == "OPTIONS" || known.contains(&(method.as_str(), path));
            assert!(is_known, "{method} {path} is not in the matrix");
        }
    }
}
