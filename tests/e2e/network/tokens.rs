//! Tokens of a running service: created, revoked, and reread from a file that breaks meanwhile.

use std::{
    fs::{Permissions, read_to_string, set_permissions, write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use e2e::{
    System,
    aggregator::Aggregator,
    api::Api,
    event::event,
    service::{Service, Signal},
    tail::Tail,
    wait::{DEADLINE, eventually, holds},
    workspace,
};

/// Runs `aggregator token` on a file, and returns what it prints.
pub async fn token(file: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(workspace::binary("aggregator"));
    command
        .arg("token")
        .args(arguments)
        .arg("--tokens")
        .arg(file);
    let ended = Service::start("aggregator token", &mut command)
        .ended(DEADLINE)
        .await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout.trim().to_owned()
}

/// A system with the tokens `writer` and `reader`, which may publish and read `orders.*`, and `admin`.
async fn guarded(directory: &Path) -> (System, PathBuf, [String; 3]) {
    let file = directory.join("tokens.toml");
    let writer = token(&file, &["create", "writer", "--publish", "orders.*"]).await;
    let reader = token(&file, &["create", "reader", "--read", "orders.*"]).await;
    let admin = token(&file, &["create", "admin", "--admin"]).await;
    let system = System::with(&["--tokens", file.to_str().unwrap()]).await;
    (system, file, [writer, reader, admin])
}

#[tokio::test]
async fn each_token_publishes_and_reads_what_it_may_and_revoking_it_ends_that() {
    let directory = tempfile::tempdir().unwrap();
    let (mut system, file, [writer, reader, _]) = guarded(directory.path()).await;
    let nobody = system.api().clone();
    let (writer, reader) = (nobody.with_token(&writer), nobody.with_token(&reader));
    for path in ["/events", "/stats", "/metrics", "/diagnostics", "/live"] {
        assert_eq!(nobody.get(path).await.unwrap().status, 401, "{path}");
    }
    let send = async |topic: &str| {
        let sent = writer.store(&[event(topic, "1")]).await;
        sent.status
    };
    assert_eq!(send("orders.eu").await, 200);
    assert_eq!(send("invoices").await, 403);
    assert_eq!(writer.get("/events").await.unwrap().status, 403);
    let everything = token(
        &file,
        &["create", "operator", "--publish", "*", "--read", "*"],
    )
    .await;
    let operator = nobody.with_token(&everything);
    // At once, since attempts with a token that is not known yet are limited.
    system.aggregator.service().signal(Signal::HUP);
    eventually("the new token is accepted", async || {
        let stats = operator.get("/stats").await?;
        holds(stats.status == 200, stats.text())
    })
    .await;
    let stored = operator.store(&[event("invoices", "1")]).await;
    assert_eq!(stored.status, 200);
    let seen = reader.get("/events").await.unwrap();
    assert!(
        seen.text().contains("orders.eu") && !seen.text().contains("invoices"),
        "{}",
        seen.text()
    );
    assert_eq!(seen.json()["total"], 1);

    let mut tail = Tail::open(&reader, &[], None).await;
    token(&file, &["revoke", "reader"]).await;
    // A stream that is open ends too.
    assert!(tail.next().await.unwrap().is_none());
    let refused = reader.get("/events").await.unwrap();
    assert_eq!(refused.status, 401);
    let list = token(&file, &["list"]).await;
    assert!(
        list.contains("writer") && !list.contains("reader"),
        "{list}"
    );
}

#[tokio::test]
async fn a_broken_file_keeps_the_tokens_and_is_reported_until_it_is_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let (mut system, file, [_, reader, admin]) = guarded(directory.path()).await;
    let reader = system.api().with_token(&reader);
    let admin = system.api().with_token(&admin);
    let good = read_to_string(&file).unwrap();
    let reported = async |expected: &str| {
        eventually("the file is reported", async || {
            let health = admin.get("/health").await?;
            let notice = health.json()["notices"]["tokens"].to_string();
            holds(
                health.status == 200 && notice.contains(expected),
                health.text(),
            )
        })
        .await;
        assert_eq!(reader.get("/events").await.unwrap().status, 200);
    };
    write(&file, "[[token]]\nname = \"reader").unwrap();
    reported("line 2").await;
    write(&file, &good).unwrap();
    set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    reported("chmod 600").await;
    set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    system.aggregator.service().signal(Signal::HUP);
    reported("null").await;
    assert!(system.aggregator.service().is_running());
    let log = system.aggregator.service().log().join("\n");
    assert!(log.contains("SIGHUP") && log.contains("chmod 600"), "{log}");
}

#[tokio::test]
async fn a_file_that_others_can_read_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    token(&file, &["create", "a", "--read", "*"]).await;
    set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let data = tempfile::tempdir().unwrap();
    let flags = ["--tokens", file.to_str().unwrap()];
    let ended = Aggregator::refused("nats://127.0.0.1:1", data.path(), &flags).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("chmod 600"), "{}", ended.stderr);
}

#[tokio::test]
async fn commands_send_the_token_that_is_the_password_in_the_address() {
    let directory = tempfile::tempdir().unwrap();
    let (system, _, [_, reader, _]) = guarded(directory.path()).await;
    let address = system.api().url().to_owned();
    let with_token = address.replace("://", &format!("://:{reader}@"));
    for (address, code, expected) in [(with_token, 0, ""), (address, 1, "token")] {
        let mut command = Command::new(workspace::binary("aggregator"));
        command.arg("topics").env("AGGREGATOR_URL", address);
        let ended = Service::start("aggregator topics", &mut command)
            .ended(DEADLINE)
            .await;
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
        assert!(!ended.stderr.contains(&reader), "{}", ended.stderr);
    }
}

/// As SECURITY.md says: a second token, the client changes to it, and the first one is revoked.
#[tokio::test]
async fn a_token_is_rotated_without_a_refused_request() {
    let directory = tempfile::tempdir().unwrap();
    let (system, file, [writer, ..]) = guarded(directory.path()).await;
    let nobody = system.api();
    let auditor = token(&file, &["create", "auditor", "--read", "*"]).await;
    let first = nobody.with_token(&writer);
    let next = token(&file, &["create", "writer-2", "--publish", "orders.*"]).await;
    let second = nobody.with_token(&next);
    let mut sent = 0;
    let mut publish = async |api: &Api| {
        sent += 1;
        api.publish(&[event("orders.eu", &sent.to_string())]).await;
        sent
    };
    eventually("the second token is accepted", async || {
        publish(&first).await;
        let health = second.get("/health").await?;
        holds(health.status == 200, health.text())
    })
    .await;
    publish(&second).await;
    token(&file, &["revoke", "writer"]).await;
    let last = eventually("the first token is refused", async || {
        let last = publish(&second).await;
        let health = first.get("/health").await?;
        // It is one of many that were refused.
        holds([401, 429].contains(&health.status), health.text()).map(|()| last)
    })
    .await;
    let stored = nobody.with_token(&auditor).settled().await;
    assert_eq!(stored.counts(), [last, last, 0]);
}
