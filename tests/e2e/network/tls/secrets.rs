//! Files with private keys and passwords that other users can read.

use std::{
    fs::{Permissions, read_to_string, set_permissions, write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use e2e::{
    aggregator::Aggregator,
    authority::{Authority, Files, LOCAL, text},
    broker::{Broker, users::Users},
    publisher::publish,
    service::Signal,
    wait::{eventually, holds},
};

const WARNING: &str = "so every user of this system can read it; run: chmod 600";

fn set(path: &Path, mode: u32) {
    set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn secrets_that_every_user_can_read_are_used_and_each_is_warned_about_once() {
    let broker = Broker::with_users(Users::new()).await;
    // Not where TMPDIR is, which other users may be unable to enter.
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    set(directory.path(), 0o755);
    let authority = Authority::default();
    let files = Files::new(directory.path(), &authority);
    let of = |user: &str| {
        let file = directory.path().join(user);
        let password = read_to_string(broker.users().password_file(user)).unwrap();
        write(&file, password).unwrap();
        (broker.url().replacen("//", &format!("//{user}@"), 1), file)
    };
    let (url, password) = of("aggregator");
    let (sender, secret) = of("publisher");
    let generate = [
        "generate",
        "--count",
        "10",
        "--nats-password-file",
        text(&secret),
    ];
    let flags = [
        &files.flags()[..],
        &["--nats-password-file", text(&password)],
    ]
    .concat();
    let data = tempfile::tempdir().unwrap();
    for (mode, is_open) in [(0o600, false), (0o640, false), (0o644, true), (0o444, true)] {
        for file in [&files.key, &password, &secret] {
            set(file, mode);
        }
        let mut aggregator = Aggregator::start(&url, data.path(), &flags).await;
        aggregator.healthy().await;
        let log = aggregator.service().log().join("\n");
        for file in [&files.key, &password] {
            let warning = format!("{} has the mode {mode:03o}, {WARNING}", file.display());
            let found = log.matches(&warning).count();
            assert_eq!(found, usize::from(is_open), "{log}");
        }
        let run = publish(&sender, &generate).await;
        run.succeeded();
        assert_eq!(run.stderr.contains(WARNING), is_open, "{}", run.stderr);
        if !is_open {
            continue;
        }
        // Another key is warned about too.
        set(&files.key, 0o644);
        files.replace(&authority.service(&LOCAL));
        aggregator.service().signal(Signal::HUP);
        eventually("the new key is warned about", async || {
            let log = aggregator.service().log().join("\n");
            let warned = log.matches("--tls-key").count();
            holds(warned == 2, log)
        })
        .await;
    }
}
