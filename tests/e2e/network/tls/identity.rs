//! Client certificates in place of tokens.

use std::{
    fs::{Permissions, set_permissions, write},
    os::unix::fs::PermissionsExt,
};

use e2e::{
    authority::{Authority, text},
    event::event,
    service::Signal,
    wait::{eventually, holds},
};
use hyper::Request;

use super::{Encrypted, client::Client};
use crate::network::tokens::token;

const READER: &str =
    "[[token]]\nname = \"reader\"\nsubject = \"CN=reader,O=Example\"\nread = [\"orders.*\"]\n";
const OPERATOR: &str =
    "[[token]]\nname = \"operator\"\nsubject = \"CN=operator,O=Example\"\nadmin = true\n";

/// A system with these tokens that trusts the client certificates of its own authority, in `clients.pem`.
pub async fn guarded(entries: &str) -> Encrypted {
    Encrypted::with(|directory, authority| {
        let [tokens, ca] = ["tokens.toml", "clients.pem"].map(|name| directory.path().join(name));
        write(&tokens, entries).unwrap();
        set_permissions(&tokens, Permissions::from_mode(0o600)).unwrap();
        write(&ca, authority.pem()).unwrap();
        let flags = ["--tokens", text(&tokens), "--tls-client-ca", text(&ca)];
        flags.map(str::to_owned).to_vec()
    })
    .await
}

#[tokio::test]
async fn a_client_certificate_has_the_scopes_of_the_entry_with_its_subject() {
    let mut encrypted = guarded(&format!("{READER}{OPERATOR}")).await;
    let address = encrypted.system.api().address();
    let file = encrypted.directory.path().join("tokens.toml");
    let writer = token(&file, &["create", "writer", "--publish", "*"]).await;
    let writer = encrypted.system.api().with_token(&writer);
    // At once, since attempts with a token that is not known yet are limited.
    encrypted.system.aggregator.service().signal(Signal::HUP);
    eventually("the new token is accepted", async || {
        let stored = writer
            .store(&[event("orders.eu", "1"), event("secret", "1")])
            .await;
        holds(stored.status == 200, stored.text())
    })
    .await;
    let certificate = |name: &str| encrypted.authority.client(name);
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let ask = async |name: Option<&str>, path: &str| {
            let own = name.map(certificate);
            let client = Client::new(
                &encrypted.authority,
                rustls::ALL_VERSIONS,
                protocols,
                own.as_ref(),
            );
            client.get(&address, path).await.unwrap()
        };
        for (name, path, status) in [
            (None, "/events", 401),
            (Some("stranger"), "/events", 401),
            (Some("reader"), "/events", 200),
            (Some("reader"), "/events?topic=secret", 403),
            (Some("reader"), "/diagnostics", 403),
            (Some("operator"), "/diagnostics", 200),
            (Some("operator"), "/events", 403),
            (None, "/livez", 200),
            (Some("stranger"), "/health", 200),
        ] {
            let got = ask(name, path).await;
            assert_eq!(got.status, status, "{name:?} {path}: {}", got.body);
        }
        let seen = ask(Some("reader"), "/events").await.body;
        assert!(
            seen.contains("orders.eu") && !seen.contains("secret"),
            "{seen}"
        );
        let refused = ask(Some("stranger"), "/events").await.body;
        assert!(refused.contains("CN=stranger,O=Example"), "{refused}");
    }
    // A token that is sent takes precedence.
    let own = certificate("reader");
    let client = Client::with(&encrypted.authority, Some(&own));
    let mut open = client.open(&address).await.unwrap();
    let request = Request::get("/events")
        .header("host", &address)
        .header("authorization", "Bearer wrong")
        .body(http_body_util::Full::default());
    assert_eq!(open.send(request.unwrap()).await.unwrap().status, 401);
    assert_eq!(open.get("/events").await.unwrap().status, 200);
    // Without its entry, a connection that is open has no access either.
    write(&file, OPERATOR).unwrap();
    eventually("the entry is gone", async || {
        let got = open.get("/events").await?;
        holds(got.status == 401, got.body)
    })
    .await;
}

#[tokio::test]
async fn a_client_certificate_that_cannot_be_verified_ends_the_handshake() {
    let encrypted = guarded(&format!("{READER}{OPERATOR}")).await;
    let address = encrypted.system.api().address();
    let expired = encrypted.authority.expired(&[], "reader");
    let unknown = Authority::default().client("reader");
    for own in [expired, unknown] {
        let client = Client::with(&encrypted.authority, Some(&own));
        // With TLS 1.3 the client has finished when the service refuses its certificate.
        let refused = client.get(&address, "/events").await.unwrap_err();
        let is_refusal = ["Expired", "UnknownC", "Certificate", "Decrypt"];
        let is_refusal = is_refusal.iter().any(|part| refused.contains(part));
        assert!(is_refusal, "{refused}");
    }
    let own = encrypted.authority.client("reader");
    let client = Client::with(&encrypted.authority, Some(&own));
    assert_eq!(client.get(&address, "/events").await.unwrap().status, 200);
}
