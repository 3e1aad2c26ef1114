//! Clients of others over HTTPS, each with a token.

use std::process::Command;

use e2e::{
    authority::text,
    browser::{Browser, Display},
    caddy::Caddy,
    event::{array, event, events},
    nginx::Nginx,
    port,
    prometheus::Prometheus,
    service::Service,
    wait::{DEADLINE, eventually, holds},
};

use super::commands::guarded;
use crate::publish::senders::run_with;

#[tokio::test]
async fn curl_publishes_and_reads_over_http_2_and_1_1_with_a_bearer_token_or_a_password() {
    let (encrypted, secret) = guarded().await;
    let (url, ca) = (encrypted.system.api().url(), text(&encrypted.files.ca));
    let curl = async |protocol: &str, login: [&str; 2], more: &[&str]| {
        let mut command = Command::new("curl");
        command
            .args(["-sS", protocol, "--cacert", ca, "--noproxy", "*"])
            .args(["-w", "\n%{http_code} %{http_version}"])
            .args(login)
            .args(more);
        Service::start("curl", &mut command).ended(DEADLINE).await
    };
    let (bearer, password) = (
        format!("Authorization: Bearer {secret}"),
        format!("anybody:{secret}"),
    );
    let logins = [["-H", bearer.as_str()], ["-u", password.as_str()]];
    let (publish, stats) = (format!("{url}/publish?wait=stored"), format!("{url}/stats"));
    for (number, login) in logins.into_iter().enumerate() {
        for (protocol, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
            let body = array(&[event("orders", &format!("{number} {protocol}"))]);
            let json = ["-H", "Content-Type: application/json", "-d", &body];
            let sent = curl(protocol, login, &[&json[..], &[&publish]].concat()).await;
            let expected = format!("200 {version}");
            assert!(sent.stdout.ends_with(&expected), "{sent:?}");
            let read = curl(protocol, login, &[&stats]).await;
            assert!(read.stdout.ends_with(&expected), "{read:?}");
        }
    }
    let wrong = curl("--http2", ["-u", "anybody:wrong"], &[&stats]).await;
    assert!(wrong.stdout.ends_with("401 2"), "{wrong:?}");
    let api = encrypted.system.api().with_token(&secret);
    assert_eq!(
        api.get("/stats").await.unwrap().json()["unique_processed"],
        4
    );
}

#[tokio::test]
async fn the_sdks_of_opentelemetry_and_cloudevents_send_with_a_token_and_the_authority() {
    let (encrypted, secret) = guarded().await;
    let (url, ca) = (encrypted.system.api().url(), text(&encrypted.files.ca));
    let headers = format!("authorization=Bearer {secret}");
    let environment = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca),
        ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
        ("REQUESTS_CA_BUNDLE", ca),
        ("SENDER_TOKEN", &secret),
    ];
    let senders = [
        ["publish/senders/opentelemetry_logs.py", "protobuf"],
        ["publish/senders/opentelemetry_logs.py", "json"],
        ["publish/senders/cloudevents_sdk.py", "structured"],
    ];
    for [program, mode] in senders {
        let ran = run_with(program, &[url, mode], &environment).await;
        if ran.is_none() {
            return;
        }
    }
    let api = encrypted.system.api().with_token(&secret);
    eventually("all are counted", async || {
        let stats = api.get("/stats").await?.json();
        let counts = ["unique_processed", "duplicate_dropped", "rejected"]
            .map(|name| stats[name].as_u64().unwrap());
        holds(counts == [32, 20, 0], counts)
    })
    .await;
}

#[tokio::test]
async fn prometheus_scrapes_with_a_password() {
    let (encrypted, secret) = guarded().await;
    let job = format!(
        "    scheme: https\n    tls_config: {{ca_file: {}}}\n    basic_auth: {{username: prometheus, password: {secret}}}\n",
        text(&encrypted.files.ca)
    );
    let api = encrypted.system.api();
    let Some(prometheus) = Prometheus::with(api, &job).await else {
        return;
    };
    eventually("it is scraped", async || {
        let up = prometheus.query("aggregator_build_info").await;
        holds(up.len() == 1, up)
    })
    .await;
}

#[tokio::test]
async fn nginx_and_caddy_forward_to_it_and_check_its_certificate() {
    let (encrypted, secret) = guarded().await;
    let (address, ca) = (
        encrypted.system.api().address(),
        text(&encrypted.files.ca).to_owned(),
    );
    let pass = format!(
        "location / {{ proxy_pass https://{address}; proxy_ssl_trusted_certificate {ca}; proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_server_name on; }}"
    );
    let Some(nginx) = Nginx::with("", &pass).await else {
        return;
    };
    let through = nginx.api().with_token(&secret);
    let sent = through.store(&events("orders", 0..10)).await;
    assert_eq!(sent.status, 200, "{}", sent.text());
    let port = port::free();
    let site = format!(
        "https://localhost:{port} {{\n\ttls internal\n\treverse_proxy https://{address} {{\n\t\theader_up Host {{upstream_hostport}}\n\
         \t\ttransport http {{\n\t\t\ttls_trusted_ca_certs {ca}\n\t\t\ttls_server_name localhost\n\t\t}}\n\t}}\n}}\n"
    );
    let Some(caddy) = Caddy::with(&site, port).await else {
        return;
    };
    let authority = caddy.authority();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--noproxy", "*", "--cacert", text(&authority)])
        .args(["-u", &format!("anybody:{secret}")])
        .arg(format!("https://localhost:{port}/stats"));
    let read = Service::start("curl", &mut curl).ended(DEADLINE).await;
    assert!(read.stdout.contains("\"unique_processed\":10"), "{read:?}");
}

#[tokio::test]
async fn a_browser_signs_in_with_a_cookie_for_https_only_and_sees_events() {
    let (encrypted, secret) = guarded().await;
    let api = encrypted.system.api().with_token(&secret);
    api.store(&events("orders", 0..3)).await;
    let Some(browser) = Browser::start(Display::WIDE).await else {
        return;
    };
    browser.open(&format!("{}/", api.url())).await;
    browser.fill("#token", &secret).await;
    browser.click("#sign-in button").await;
    browser.shows("#count-unique", "3").await;
    browser.shows("#event-rows", "orders").await;
    let cookies = browser.cookies().await;
    let [cookie] = &cookies[..] else {
        panic!("one cookie, not {cookies:?}");
    };
    assert_eq!(
        (&cookie["secure"], &cookie["httpOnly"]),
        (&true.into(), &true.into())
    );
    assert_eq!(cookie["sameSite"], "Strict");
    assert_eq!(cookie["name"], "__Host-aggregator_session");
}
