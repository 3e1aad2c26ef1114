//! Access: what each token may do on each route, and what of the store it gets to see.

mod routes;
mod scopes;
mod sessions;
mod tail;

use std::net::{IpAddr, Ipv4Addr};

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::*;
use crate::{
    access::{Secret, Subject, Tokens},
    http::edge::access::Peer,
};

/// The tokens of the tests.
struct Keys {
    access: Access,
    known: Vec<(&'static str, Secret)>,
}

/// The entries of the tokens file other than name and hash; for each there is another with the subject of a certificate. `revoked` is
/// removed after it was read.
const ENTRIES: [(&str, &str); 10] = [
    (
        "expired",
        "publish = [\"*\"]\nread = [\"*\"]\nadmin = true\nexpires = 2020-01-01T00:00:00Z",
    ),
    ("revoked", "publish = [\"*\"]\nread = [\"*\"]\nadmin = true"),
    ("nothing", ""),
    ("publish", "publish = [\"orders.*\"]"),
    ("one", "read = [\"orders.eu\"]"),
    ("pattern", "read = [\"orders.*\"]"),
    ("reader", "read = [\"*\"]"),
    ("admin", "admin = true"),
    (
        "operator",
        "admin = true\npublish = [\"orders.*\"]\nread = [\"orders.*\"]",
    ),
    ("slow", "publish = [\"*\"]\nrate = \"1/s\""),
];

impl Keys {
    fn new() -> Self {
        let known: Vec<_> = ENTRIES.map(|(name, _)| (name, Secret::new())).into();
        let tokens = |is_kept: fn(&str) -> bool| {
            let entries = ENTRIES.iter().zip(&known);
            let entries = entries.filter(|((name, _), _)| is_kept(name));
            let texts = entries.map(|((name, rest), (_, secret))| {
                let digest = secret.sha256().map(|byte| format!("{byte:02x}")).concat();
                let subject = subject(name);
                format!(
                    "[[token]]\nname = \"{name}\"\nsha256 = \"{digest}\"\n{rest}\n\
                     [[token]]\nname = \"{name}-certified\"\nsubject = \"{subject}\"\n{rest}\n"
                )
            });
            Tokens::parse(&texts.collect::<String>()).unwrap()
        };
        let access = Access::with(tokens(|_| true));
        access.replace(tokens(|name| name != "revoked"));
        Self { access, known }
    }

    /// The text of a token; a valid one that is not in the file for an unknown name.
    fn text(&self, name: &str) -> String {
        let found = self.known.iter().find(|(known, _)| *known == name);
        let secret = found.map_or_else(Secret::new, |(_, secret)| secret.clone());
        secret.reveal().to_owned()
    }

    /// The header `Authorization` with a token.
    fn header(&self, name: &str, is_basic: bool) -> String {
        let token = self.text(name);
        if is_basic {
            return format!("Basic {}", BASE64.encode(format!("anybody:{token}")));
        }
        format!("Bearer {token}")
    }
}

/// The subject of the certificate of a kind.
fn subject(name: &str) -> Subject {
    Subject::parse(&format!("CN={name}")).unwrap()
}

/// An API with tokens.
async fn guarded() -> (Fixture, Keys) {
    let keys = Keys::new();
    (Fixture::with(keys.access.clone()).await, keys)
}

/// A request from an address of its own, so that refused ones are not limited.
fn from_somewhere(mut request: Request<Body>) -> Request<Body> {
    let address = IpAddr::V4(Ipv4Addr::from_bits(rand::random()));
    request.extensions_mut().insert(Peer(address));
    request
}

impl Fixture {
    async fn get_as(&self, keys: &Keys, name: &str, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).header(header::AUTHORIZATION, keys.header(name, false));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn post_as(
        &self,
        keys: &Keys,
        name: &str,
        (path, kind): (&str, &str),
        body: &str,
    ) -> (StatusCode, String) {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, keys.header(name, false))
            .header(header::CONTENT_TYPE, kind);
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, String) {
        let answer = self.router.clone().oneshot(from_somewhere(request));
        let answer = answer.await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}
