//! What OpenSSL and sslscan say about the service.

use std::process::Command;

use e2e::{
    authority::text,
    browser::needed,
    service::{Ended, Service},
    wait::DEADLINE,
};

use super::Encrypted;

async fn run(mut command: Command) -> Ended {
    Service::start("a check of TLS", &mut command)
        .ended(DEADLINE)
        .await
}

#[tokio::test]
async fn openssl_agrees_on_new_versions_and_strong_suites_only() {
    let Some(openssl) = needed("E2E_OPENSSL", "openssl") else {
        return;
    };
    let encrypted = Encrypted::start().await;
    let address = encrypted.system.api().address();
    let connect = async |arguments: &[&str]| {
        let mut command = Command::new(&openssl);
        command
            .args(["s_client", "-brief", "-connect", &address])
            .args(["-servername", "localhost", "-verify_return_error"])
            .args([
                "-verify_hostname",
                "localhost",
                "-CAfile",
                text(&encrypted.files.ca),
            ])
            .args(arguments);
        run(command).await
    };
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let ended = connect(&[version, "-alpn", "h2"]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains(name), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("Verification: OK"),
            "{}",
            ended.stderr
        );
    }
    // OpenSSL itself must be allowed to offer what the service refuses.
    let everything = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";
    for version in ["-tls1", "-tls1_1"] {
        let ended = connect(&[version, "-cipher", everything]).await;
        assert_ne!(ended.code, Some(0), "{version}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("alert"),
            "{version}: {}",
            ended.stderr
        );
    }
    let mut command = Command::new(&openssl);
    command.args(["ciphers", "-s", "-tls1_2", everything]);
    let suites = run(command).await.stdout;
    let mut accepted = Vec::new();
    for suite in suites
        .trim()
        .split(':')
        .filter(|name| !name.starts_with("TLS_"))
    {
        let cipher = format!("{suite}:@SECLEVEL=0");
        if connect(&["-tls1_2", "-cipher", &cipher]).await.code == Some(0) {
            accepted.push(suite);
        }
    }
    assert!(!accepted.is_empty(), "{suites}");
    for suite in &accepted {
        let is_strong =
            suite.starts_with("ECDHE-") && (suite.contains("-GCM-") || suite.contains("CHACHA20"));
        assert!(is_strong, "{suite}");
    }
    let ended = connect(&["-verify_hostname", "other.example"]).await;
    assert_ne!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn sslscan_finds_no_old_version_and_no_weak_suite() {
    let Some(sslscan) = needed("E2E_SSLSCAN", "sslscan") else {
        return;
    };
    let encrypted = Encrypted::start().await;
    let mut command = Command::new(sslscan);
    command.args(["--no-colour", "--xml=-", &encrypted.system.api().address()]);
    let found = run(command).await.stdout;
    for (kind, version, enabled) in [
        ("ssl", "2", 0),
        ("ssl", "3", 0),
        ("tls", "1.0", 0),
        ("tls", "1.1", 0),
        ("tls", "1.2", 1),
        ("tls", "1.3", 1),
    ] {
        let line = format!("<protocol type=\"{kind}\" version=\"{version}\" enabled=\"{enabled}\"");
        assert!(found.contains(&line), "{line}: {found}");
    }
    let suites: Vec<_> = found
        .lines()
        .filter(|line| line.contains("<cipher "))
        .collect();
    assert!(!suites.is_empty(), "{found}");
    for suite in suites {
        let is_strong = ["GCM", "CHACHA20"].iter().any(|mode| suite.contains(mode))
            && (suite.contains("ECDHE") || suite.contains("\"TLS_"));
        let is_rated = ["strong", "acceptable"]
            .iter()
            .any(|rating| suite.contains(&format!("strength=\"{rating}\"")));
        assert!(is_strong && is_rated, "{suite}");
    }
    assert!(
        found.contains("<heartbleed") && !found.contains("vulnerable=\"1\""),
        "{found}"
    );
    assert!(found.contains("127.0.0.1"), "{found}");
}
