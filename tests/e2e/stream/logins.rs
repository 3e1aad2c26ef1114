//! Brokers that require credentials or TLS, and addresses that contain them.

use std::path::Path;

use e2e::{
    aggregator::Aggregator,
    broker::{
        Broker, Login,
        process::{self, oldest},
    },
    event::events,
    port,
    publisher::{self, Publisher},
    verification::verify,
    wait::{eventually, holds},
};

const USER: &str = "us:er";
const PASSWORD: &str = "p@ss/w%?,#rd";
/// Both, encoded in an address.
const ENCODED: &str = "us%3Aer:p%40ss%2Fw%25%3F%2C%23rd";
const TOKEN: &str = "s3cret:t@ken";
const ENCODED_TOKEN: &str = "s3cret%3At%40ken";

/// The broker's address with credentials.
fn with(credentials: &str, broker: &Broker) -> String {
    broker.url().replacen("//", &format!("//{credentials}@"), 1)
}

/// The text must contain no part of a credential.
fn assert_hides(text: &str) {
    for secret in [
        PASSWORD,
        ENCODED,
        "w%25%3F",
        TOKEN,
        ENCODED_TOKEN,
        "wrong-secret",
    ] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

/// Waits until the `/health` check of the broker contains `wanted`, and returns it.
async fn broker_says(aggregator: &Aggregator, wanted: &str) -> String {
    eventually("health gives the reason", async || {
        let health = aggregator.api().get("/health").await?;
        let reason = health.json()["checks"]["broker"].to_string();
        holds(
            health.status == 503 && reason.contains(wanted),
            health.text(),
        )?;
        Ok(health.text().to_owned())
    })
    .await
}

/// Every command that connects works with this address.
async fn everything_works(url: &str, data: &Path) {
    let mut aggregator = Aggregator::start(url, data, &[]).await;
    aggregator.healthy().await;
    let api = aggregator.api().url().to_owned();
    let generate = ["generate", "--count", "100", "--verify", &api];
    publisher::publish(url, &generate).await.succeeded();
    let file = data.join("events.ndjson");
    let line = r#"{"topic":"t","event_id":"1","timestamp":"2026-01-31T12:00:00Z","source":"s","payload":{}}"#;
    std::fs::write(&file, line).unwrap();
    let send = ["send", file.to_str().unwrap(), "--verify", &api];
    publisher::publish(url, &send).await.succeeded();
    aggregator.api().publish(&events("http", 0..10)).await;
    assert_eq!(aggregator.api().settled().await.stats.received, 111);
    verify(data, &["--json", "--nats-url", url]).await.proves();
    assert_hides(&aggregator.service().log().join("\n"));
    aggregator.stop().await;
}

#[tokio::test]
async fn every_command_logs_in_with_the_user_and_the_password_of_its_address() {
    let broker = Broker::demanding(Login::Password(USER, PASSWORD)).await;
    let data = tempfile::tempdir().unwrap();
    everything_works(&with(ENCODED, &broker), data.path()).await;
}

#[tokio::test]
async fn every_command_logs_in_with_the_token_of_its_address() {
    let broker = Broker::demanding(Login::Token(TOKEN)).await;
    let data = tempfile::tempdir().unwrap();
    everything_works(&with(ENCODED_TOKEN, &broker), data.path()).await;
}

#[tokio::test]
async fn of_several_addresses_the_one_that_responds_is_used() {
    let broker = Broker::demanding(Login::Password(USER, PASSWORD)).await;
    let data = tempfile::tempdir().unwrap();
    let nowhere = format!("nats://127.0.0.1:{}", port::free());
    let with_commas = format!("{nowhere},{}", with(ENCODED, &broker));
    everything_works(&with_commas, data.path()).await;

    let again = ["--nats-url", &with(ENCODED, &broker)];
    let aggregator = Aggregator::start(&nowhere, data.path(), &again).await;
    aggregator.healthy().await;
}

#[tokio::test]
async fn a_login_refused_by_the_broker_is_reported_with_the_remedy() {
    let broker = Broker::demanding(Login::Password(USER, PASSWORD)).await;
    for (credentials, wanted) in [
        ("us%3Aer:wrong-secret", "refuses the user and password"),
        ("wrong-secret", "refuses the token"),
        ("", "requires credentials"),
    ] {
        let url = with(credentials, &broker);
        let data = tempfile::tempdir().unwrap();
        let mut aggregator = Aggregator::start(&url, data.path(), &[]).await;
        assert_hides(&broker_says(&aggregator, wanted).await);
        let log = aggregator.service().log().join("\n");
        assert!(log.contains(wanted), "{log}");
        assert_hides(&log);
        // It retries, and logs it once.
        assert_eq!(log.matches(wanted).count(), 1, "{log}");

        let mut publisher = Publisher::start(&url, &["generate", "--count", "1"]);
        eventually("the publisher gives the reason", async || {
            let log = publisher.service().log().join("\n");
            assert_hides(&log);
            holds(log.contains(wanted), log)
        })
        .await;
        aggregator.stop().await;
    }

    // Its 15 s timeout elapses once.
    let data = tempfile::tempdir().unwrap();
    let mut aggregator = Aggregator::start(&with(ENCODED, &broker), data.path(), &[]).await;
    aggregator.healthy().await;
    aggregator.stop().await;
    let url = with("us%3Aer:wrong-secret", &broker);
    let verified = verify(data.path(), &["--nats-url", &url]).await;
    assert_ne!(verified.code, Some(0));
    let said = &verified.stderr;
    assert!(said.contains("refuses the user and password"), "{said}");
    assert_hides(said);
}

#[tokio::test]
async fn a_tls_address_requires_tls_and_the_certificate_is_checked() {
    let Some(program) = oldest() else {
        return;
    };
    let files = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let certificate = certificate.to_str().unwrap();
    let flags = [
        "--tls",
        "--tlscert",
        certificate,
        "--tlskey",
        key.to_str().unwrap(),
    ];
    let port = port::free();
    let _broker = process::Server::start_program(&program, port, &flags);
    let url = format!("tls://127.0.0.1:{port}");

    let data = tempfile::tempdir().unwrap();
    let trust = [("SSL_CERT_FILE", certificate)];
    let mut trusting = Aggregator::start_with(&url, data.path(), &[], &trust).await;
    trusting.healthy().await;
    trusting.api().publish(&events("orders", 0..10)).await;
    assert_eq!(trusting.api().settled().await.counts(), [10, 10, 0]);
    trusting.stop().await;

    // The system's authorities do not include it.
    let strange = Aggregator::start(&url, data.path(), &[]).await;
    broker_says(&strange, "certificate").await;
    drop(strange);

    // A broker without TLS is not used in plain text.
    let plain = Broker::demanding(Login::Password(USER, PASSWORD)).await;
    let url = with(ENCODED, &plain).replacen("nats://", "tls://", 1);
    let refusing = Aggregator::start(&url, data.path(), &[]).await;
    let said = broker_says(&refusing, "InvalidContentType").await;
    assert_hides(&said);
}
