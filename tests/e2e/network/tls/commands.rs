//! The programs' own commands over HTTPS.

use std::{fs::write, process::Command};

use e2e::{
    authority::{Authority, text},
    collector::Collector,
    service::{Ended, Service},
    wait::{DEADLINE, eventually, holds},
    workspace,
};

use super::Encrypted;
use crate::network::tokens::token;

async fn run(program: &'static str, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(workspace::binary(program));
    command.args(arguments).envs(environment.iter().copied());
    Service::start(program, &mut command).ended(DEADLINE).await
}

/// A system that asks for tokens, and the file of one that may do everything.
pub(super) async fn guarded() -> (Encrypted, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    let all = ["create", "all", "--publish", "*", "--read", "*", "--admin"];
    let secret = token(&file, &all).await;
    let tokens = std::fs::read(&file).unwrap();
    let encrypted = Encrypted::with(|directory, _| {
        let file = directory.path().join("tokens.toml");
        write(&file, tokens).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, mode).unwrap();
        ["--tokens", text(&file)].map(str::to_owned).to_vec()
    })
    .await;
    write(encrypted.directory.path().join("token"), &secret).unwrap();
    (encrypted, secret)
}

#[tokio::test]
async fn the_publisher_sends_and_verifies_with_the_authority_and_the_token_of_files() {
    let (encrypted, secret) = guarded().await;
    let url = encrypted.system.api().url().to_owned();
    let (ca, file) = (
        &encrypted.files.ca,
        encrypted.directory.path().join("token"),
    );
    let with = ["--ca", text(ca), "--token-file", text(&file)];
    let nats = encrypted.system.broker.url();
    let sent = [
        "generate",
        "--count",
        "500",
        "--nats-url",
        &nats,
        "--verify",
        &url,
    ];
    let ended = run("publisher", &[&sent[..], &with].concat(), &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let sent = ["http", "--count", "500", "--connections", "4", "--verify"];
    let environment = [
        ("AGGREGATOR_URL", url.as_str()),
        ("AGGREGATOR_CA", text(ca)),
        ("AGGREGATOR_TOKEN", &secret),
    ];
    let ended = run("publisher", &sent, &environment).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let sent = ["latency", "--samples", "3", "--rate", "10", "--url", &url];
    let ended = run("publisher", &[&sent[..], &with].concat(), &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for command in [&["stats"][..], &["topics"], &["query", "-n", "1"]] {
        let ended = run("aggregator", command, &environment).await;
        assert_eq!(ended.code, Some(0), "{command:?}: {}", ended.stderr);
        assert!(!ended.stdout.is_empty(), "{command:?}");
        let ended = run("aggregator", command, &environment[..2]).await;
        assert_eq!(ended.code, Some(1), "{command:?}");
        assert!(ended.stderr.contains("token"), "{}", ended.stderr);
    }
    let doctor = ["doctor", "--nats-url", &nats];
    let ended = run("aggregator", &doctor, &environment).await;
    assert!(ended.stdout.contains("https://"), "{}", ended.stdout);
    assert!(
        !ended.stdout.contains("no aggregator answers"),
        "{}",
        ended.stdout
    );
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_ends_a_command_with_what_to_do() {
    let (encrypted, secret) = guarded().await;
    let api = encrypted.system.api();
    let other = encrypted.directory.path().join("other.pem");
    write(&other, Authority::default().pem()).unwrap();
    let (url, nats) = (api.url(), encrypted.system.broker.url());
    let environment = [("AGGREGATOR_TOKEN", secret.as_str())];
    for (program, arguments) in [
        ("aggregator", &["stats", "--url", url][..]),
        ("publisher", &["http", "--count", "1", "--url", url]),
        (
            "publisher",
            &[
                "generate",
                "--count",
                "1",
                "--nats-url",
                &nats,
                "--verify",
                url,
            ],
        ),
    ] {
        let arguments = [arguments, &["--ca", text(&other)]].concat();
        let ended = run(program, &arguments, &environment).await;
        assert_eq!(ended.code, Some(1), "{arguments:?}");
        for part in ["UnknownIssuer", "--ca must name a file"] {
            assert!(ended.stderr.contains(part), "{}", ended.stderr);
        }
        assert!(!ended.stderr.contains(&secret), "{}", ended.stderr);
    }
    let plain = url.replace("https:", "http:");
    let ended = run("aggregator", &["stats", "--url", &plain], &environment).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains(url), "{}", ended.stderr);
    let ca = text(&encrypted.files.ca);
    // The certificate is of localhost and 127.0.0.1.
    let other = url.replace("127.0.0.1", "127.0.0.2");
    let ended = run(
        "aggregator",
        &["stats", "--url", &other, "--ca", ca],
        &environment,
    )
    .await;
    assert_eq!(ended.code, Some(1));
}

#[tokio::test]
async fn commands_on_the_same_machine_use_the_file_of_the_certificate() {
    let (encrypted, secret) = guarded().await;
    let address = encrypted.system.api().address();
    let certificate = text(&encrypted.files.certificate);
    let environment = [
        ("AGGREGATOR_LISTEN", address.as_str()),
        ("AGGREGATOR_TLS_CERT", certificate),
        ("AGGREGATOR_TOKEN", &secret),
    ];
    let ended = run("aggregator", &["healthcheck"], &environment).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ended = run("aggregator", &["healthcheck"], &environment[..1]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("https://"), "{}", ended.stderr);
    let ended = run("aggregator", &["acknowledge-missing"], &environment).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout.trim(), "0 sequences acknowledged");
    // The token is sent to nobody else.
    let other = encrypted.directory.path().join("other.pem");
    write(
        &other,
        Authority::default().service(&["localhost"]).certificate,
    )
    .unwrap();
    let environment = [
        environment[0],
        ("AGGREGATOR_TLS_CERT", text(&other)),
        environment[2],
    ];
    let ended = run("aggregator", &["acknowledge-missing"], &environment).await;
    assert_eq!(ended.code, Some(1));
    // Whether the service works does not depend on it.
    let ended = run("aggregator", &["healthcheck"], &environment).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn spans_are_exported_to_a_collector_with_https() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::default();
    let ca = directory.path().join("ca.pem");
    write(&ca, authority.pem()).unwrap();
    let collector = Collector::encrypted(&authority.service(&["127.0.0.1"])).await;
    let broker = e2e::broker::Broker::start().await;
    let data = tempfile::tempdir().unwrap();
    let environment = [("OTEL_EXPORTER_OTLP_CERTIFICATE", text(&ca))];
    let flags = ["--otlp-endpoint", collector.url()];
    let aggregator =
        e2e::aggregator::Aggregator::start_with(&broker.url(), data.path(), &flags, &environment)
            .await;
    aggregator.healthy().await;
    let stored = aggregator.api().store(&[e2e::event::event("a", "1")]).await;
    assert_eq!(stored.status, 200);
    eventually("spans arrive", async || {
        let spans = collector.spans();
        holds(!spans.is_empty(), "none")
    })
    .await;
}
