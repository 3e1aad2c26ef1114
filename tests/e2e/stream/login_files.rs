//! Credentials and certificates for the broker that are in files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use e2e::{
    aggregator::Aggregator,
    broker::{
        self,
        process::{self, Server, oldest},
        users::Users,
    },
    port,
    publisher::{self, Publisher},
    verification::verify,
    wait::{eventually, holds},
    workspace,
};
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::publish::senders::run;

/// A broker with more than the project's settings, as a process even where the other brokers run in containers.
fn started(settings: &str, directory: &Path) -> Option<(Server, u16)> {
    let program = oldest()?;
    let own = fs::read_to_string(workspace::root().join("compose/server.conf")).unwrap();
    let file = directory.join("nats.conf");
    fs::write(&file, format!("{own}\n{settings}\n")).unwrap();
    let port = port::free();
    let flags = ["--config", file.to_str().unwrap()];
    Some((process::Server::start_program(&program, port, &flags), port))
}

fn written(directory: &Path, name: &str, text: &str) -> String {
    let file = directory.join(name);
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Every command that connects works with these flags. Returns the directory of the store.
async fn everything_works(url: &str, flags: &[&str], secret: &str) -> TempDir {
    let data = tempfile::tempdir().unwrap();
    let mut aggregator = Aggregator::start(url, data.path(), flags).await;
    aggregator.healthy().await;
    let api = aggregator.api().url().to_owned();
    let generate = [&["generate", "--count", "100", "--verify", &api], flags].concat();
    publisher::publish(url, &generate).await.succeeded();
    let line = r#"{"topic":"t","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{}}"#;
    let file = written(data.path(), "events.ndjson", line);
    let send = [&["send", &file, "--verify", &api], flags].concat();
    publisher::publish(url, &send).await.succeeded();
    assert_eq!(aggregator.api().settled().await.stats.received, 101);
    let report = data.path().join("report.json");
    let (report, examined) = (report.to_str().unwrap(), ["doctor", "--url", &api]);
    let doctor = [&examined[..], &["--nats-url", url, "--json", report], flags].concat();
    let examined = aggregator.command(&doctor).await;
    assert_eq!(examined.code, Some(0), "{}", examined.stdout);
    let diagnostics = aggregator.api().get("/diagnostics").await.unwrap();
    let log = aggregator.service().log().join("\n");
    let report = fs::read_to_string(report).unwrap();
    for shown in [diagnostics.text(), &log, &examined.stdout, &report] {
        assert!(!shown.contains(secret), "{shown}");
    }
    aggregator.stop().await;
    let broker = [&["--json", "--nats-url", url], flags].concat();
    verify(data.path(), &broker).await.proves();
    data
}

/// The broker refuses these flags, and the service and the publisher say so.
async fn refused(url: &str, flags: &[&str], wanted: &str) {
    let data = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(url, data.path(), flags).await;
    eventually("health gives the reason", async || {
        let health = aggregator.api().get("/health").await?;
        let reason = health.json()["checks"]["broker"].to_string();
        holds(reason.contains(wanted), health.text())
    })
    .await;
    let arguments = [&["generate", "--count", "1"], flags].concat();
    let mut publisher = Publisher::start(url, &arguments);
    eventually("the publisher gives the reason", async || {
        let log = publisher.service().log().join("\n");
        holds(log.contains(wanted), log)
    })
    .await;
}

#[tokio::test]
async fn a_password_or_a_token_is_read_from_its_file() {
    let files = tempfile::tempdir().unwrap();
    let right = written(files.path(), "right", "s3cret p@ss\n");
    let wrong = written(files.path(), "wrong", "another\n");
    for (settings, user, advice) in [
        (
            "authorization { user: ann, password: \"s3cret p@ss\" }",
            "ann@",
            "password in --nats-password-file",
        ),
        (
            "authorization { token: \"s3cret p@ss\" }",
            "",
            "token in --nats-password-file",
        ),
    ] {
        let Some((_broker, port)) = started(settings, files.path()) else {
            return;
        };
        let url = broker::url(port).replacen("//", &format!("//{user}"), 1);
        everything_works(&url, &["--nats-password-file", &right], "s3cret").await;
        refused(&url, &["--nats-password-file", &wrong], advice).await;
    }
}

#[tokio::test]
async fn an_nkey_signs_the_nonce_of_the_broker() {
    let files = tempfile::tempdir().unwrap();
    let [key, other] = [(); 2].map(|()| KeyPair::new_user());
    let users = format!(
        "authorization {{ users: [{{ nkey: {} }}] }}",
        key.public_key()
    );
    let Some((_broker, port)) = started(&users, files.path()) else {
        return;
    };
    let seed = key.seed().unwrap();
    let right = written(files.path(), "right.nk", &format!("{seed}\n"));
    let wrong = written(files.path(), "wrong.nk", &other.seed().unwrap());
    let url = broker::url(port);
    everything_works(&url, &["--nats-nkey", &right], &seed).await;
    refused(&url, &["--nats-nkey", &wrong], "--nats-nkey").await;
}

/// A JWT of NATS about a key, signed by another.
fn jwt(about: &KeyPair, name: &str, claims: &Value, by: &KeyPair) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(&json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let body = part(&json!({
        "jti": name,
        "iat": 1_700_000_000,
        "iss": by.public_key(),
        "sub": about.public_key(),
        "name": name,
        "nats": claims,
    }));
    let signed = format!("{header}.{body}");
    let signature = URL_SAFE_NO_PAD.encode(by.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

fn credentials(user: &KeyPair, account: &KeyPair) -> String {
    let unlimited = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}});
    let jwt = jwt(user, "user", &unlimited, account);
    let seed = user.seed().unwrap();
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

#[tokio::test]
async fn a_credentials_file_is_one_of_an_operator() {
    let files = tempfile::tempdir().unwrap();
    let operator = KeyPair::new_operator();
    let [system, account, another] = [(); 3].map(|()| KeyPair::new_account());
    let own = json!({"type": "operator", "version": 2, "system_account": system.public_key()});
    let limits = |disk: i64| {
        json!({"type": "account", "version": 2, "limits": {
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
            "mem_storage": disk, "disk_storage": disk, "streams": disk, "consumer": disk,
        }})
    };
    let settings = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}",
        jwt(&operator, "operator", &own, &operator),
        system.public_key(),
        system.public_key(),
        jwt(&system, "system", &limits(0), &operator),
        account.public_key(),
        jwt(&account, "account", &limits(-1), &operator),
    );
    let Some((_broker, port)) = started(&settings, files.path()) else {
        return;
    };
    let user = KeyPair::new_user();
    let right = written(files.path(), "right.creds", &credentials(&user, &account));
    let stranger = credentials(&KeyPair::new_user(), &another);
    let wrong = written(files.path(), "wrong.creds", &stranger);
    let url = broker::url(port);
    let seed = user.seed().unwrap();
    everything_works(&url, &["--nats-creds", &right], &seed).await;
    refused(&url, &["--nats-creds", &wrong], "--nats-creds").await;
}

/// An authority, and certificates that it has issued.
struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of a test");
        let certificate = params.self_signed(&key).unwrap();
        written(directory.path(), "ca.pem", &certificate.pem());
        let issuer = Issuer::new(params, key);
        Self { directory, issuer }
    }

    fn issue(&self, name: &str) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        written(
            self.directory.path(),
            &format!("{name}.pem"),
            &certificate.pem(),
        );
        written(
            self.directory.path(),
            &format!("{name}-key.pem"),
            &key.serialize_pem(),
        );
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn with_mutual_tls_both_sides_need_a_certificate_of_the_authority() {
    let [ours, theirs] = [(); 2].map(|()| Authority::new());
    ours.issue("server");
    ours.issue("client");
    theirs.issue("client");
    let settings = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true, timeout: 10 }}",
        ours.file("server.pem"),
        ours.file("server-key.pem"),
        ours.file("ca.pem"),
    );
    let files = tempfile::tempdir().unwrap();
    let Some((_broker, port)) = started(&settings, files.path()) else {
        return;
    };
    let ca = ours.path("ca.pem");
    let trust = ["--nats-ca", &ca];
    let (cert, key) = (ours.path("client.pem"), ours.path("client-key.pem"));
    let right = ["--nats-ca", &ca, "--nats-cert", &cert, "--nats-key", &key];
    // The broker announces TLS, and the certificates require it.
    let plain = broker::url(port);
    let secret = fs::read_to_string(&key).unwrap();
    let secret = secret.lines().nth(1).unwrap();
    let data = everything_works(&plain, &right, secret).await;

    let url = plain.replacen("nats:", "tls:", 1);
    let nowhere = format!("tls://127.0.0.1:{}", port::free());
    let several = format!("{nowhere},{url}");
    let aggregator = Aggregator::start(&several, data.path(), &right).await;
    aggregator.healthy().await;
    drop(aggregator);
    refused(&url, &trust, "requires a client certificate").await;
    let (cert, key) = (theirs.path("client.pem"), theirs.path("client-key.pem"));
    let strange = ["--nats-ca", &ca, "--nats-cert", &cert, "--nats-key", &key];
    refused(&url, &strange, "certificate in --nats-cert").await;
    let ca = theirs.path("ca.pem");
    refused(&url, &["--nats-ca", &ca], "--nats-ca").await;
    // Certificates are of no use on a connection without TLS, so there is none.
    let Some((_broker, port)) = started("", files.path()) else {
        return;
    };
    refused(&broker::url(port), &right, "InvalidContentType").await;
}

#[tokio::test]
async fn the_demos_certificates_and_users_work_together() {
    let users = Users::new();
    let files = users.path().join("tls");
    let made = Command::new(workspace::root().join("compose/certificates.sh"))
        .arg(&files)
        .output();
    let made = made.expect("a shell script can be run");
    assert!(made.status.success(), "{made:?}");
    let path = |name: &str| files.join(name).to_str().unwrap().to_owned();
    // In a process of their own, the paths come from the environment.
    let configuration = users.path().join("nats-tls.conf");
    let mut text = fs::read_to_string(&configuration).unwrap();
    for (variable, file) in [
        ("$NATS_CERT", "nats/cert.pem"),
        ("$NATS_KEY", "nats/key.pem"),
        ("$NATS_CA", "nats/ca.pem"),
    ] {
        assert!(text.contains(variable), "{text}");
        text = text.replace(variable, &path(file));
    }
    fs::write(&configuration, text).unwrap();
    let Some(program) = oldest() else {
        return;
    };
    let port = port::free();
    let flags = ["--config", configuration.to_str().unwrap()];
    let _broker = Server::start_program(&program, port, &flags);
    let url = format!("tls://127.0.0.1:{port}");
    let data = tempfile::tempdir().unwrap();
    let (ca, cert, key) = (
        path("aggregator/ca.pem"),
        path("aggregator/cert.pem"),
        path("aggregator/key.pem"),
    );
    let flags = ["--nats-ca", &ca, "--nats-cert", &cert, "--nats-key", &key];
    let login = users.login("aggregator", &url);
    let aggregator = Aggregator::start(&login, data.path(), &flags).await;
    aggregator.healthy().await;
    let api = aggregator.api().url().to_owned();
    let (ca, cert, key) = (
        path("publisher/ca.pem"),
        path("publisher/cert.pem"),
        path("publisher/key.pem"),
    );
    let flags = ["--nats-ca", &ca, "--nats-cert", &cert, "--nats-key", &key];
    let generate = [
        &["generate", "--count", "100", "--verify", &api],
        &flags[..],
    ]
    .concat();
    let login = users.login("publisher", &url);
    publisher::publish(&login, &generate).await.succeeded();
    let python = [login.as_str(), &ca, &cert, &key];
    if run("stream/clients/nats_tls.py", &python).await.is_some() {
        let books = aggregator.api().settled().await;
        assert_eq!(books.of("python"), [1, 1, 0]);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_ends_the_program_at_once() {
    let files = tempfile::tempdir().unwrap();
    let empty = written(files.path(), "empty", "");
    for flag in [
        "--nats-password-file",
        "--nats-creds",
        "--nats-nkey",
        "--nats-ca",
    ] {
        for file in [&empty, "/nowhere/secret"] {
            let data = files.path().join("data");
            let ended = Aggregator::refused("nats://127.0.0.1:1", &data, &[flag, file]).await;
            assert_eq!(ended.code, Some(2), "{}", ended.stderr);
            let named = format!("{flag} {file}: ");
            assert!(ended.stderr.contains(&named), "{}", ended.stderr);
            let generate = ["generate", flag, file];
            let ended = publisher::publish("nats://127.0.0.1:1", &generate).await;
            assert_eq!(ended.code, Some(2), "{}", ended.stderr);
            assert!(ended.stderr.contains(&named), "{}", ended.stderr);
        }
    }
}
