//! The users of `compose/nats.conf`, with passwords of their own, and one more who may do everything: the tests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use async_nats::ConnectOptions;
use tempfile::TempDir;

use crate::workspace;

/// Those of the configuration.
pub const USERS: [&str; 3] = ["aggregator", "publisher", "reader"];

/// The user of the tests.
pub const TESTS: (&str, &str) = ("tests", "may-do-everything");

/// Where the list of users begins.
const BEGINNING: &str = "users: [";

/// Where the settings of JetStream begin.
const JETSTREAM: &str = "jetstream {";

/// The environment variable with the directory of the store.
pub const STORE: &str = "E2E_NATS_STORE";

/// A directory with the configuration and the passwords, deleted on drop.
#[derive(Debug)]
pub struct Users(TempDir);

impl Users {
    /// Makes the passwords with `compose/secrets.sh`.
    #[expect(clippy::new_without_default, reason = "each has other passwords")]
    pub fn new() -> Self {
        let users = Self(tempfile::tempdir().expect("a temporary directory can be created"));
        for name in [
            "server.conf",
            "nats.conf",
            "nats-tls.conf",
            "nats-cluster.conf",
        ] {
            let file = workspace::root().join("compose").join(name);
            fs::copy(file, users.path().join(name)).expect("it is in the workspace");
        }
        // nats-server 2.10 cannot be reloaded if a flag names the directory of its store, and later ones refuse both.
        let settings = users.path().join("server.conf");
        let text = fs::read_to_string(&settings).expect("it was copied");
        let named = text.replace(JETSTREAM, &format!("{JETSTREAM}\n  store_dir: ${STORE}"));
        assert_ne!(named, text);
        fs::write(settings, named).expect("it can be written");
        let (user, password) = TESTS;
        let own = format!("{BEGINNING}\n{{ user: {user}, password: {password} }}\n");
        users.edit(BEGINNING, &own);
        users.make(&USERS);
        users
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The configuration.
    pub fn configuration(&self) -> PathBuf {
        self.path().join("nats.conf")
    }

    /// The configuration of a server of a cluster.
    pub fn configuration_of_cluster(&self) -> PathBuf {
        self.path().join("nats-cluster.conf")
    }

    /// Makes the password between the servers of a cluster, which reach each other at these addresses, with `compose/routes.sh`.
    pub fn connect(&self, addresses: &[String]) {
        let status = Command::new(workspace::root().join("compose/routes.sh"))
            .arg(self.path().join("secrets"))
            .args(addresses)
            .status();
        assert!(status.expect("a shell script can be run").success());
    }

    /// Replaces a part of the configuration, which the broker reads when it starts or gets SIGHUP.
    pub fn edit(&self, part: &str, by: &str) {
        let text = fs::read_to_string(self.configuration()).expect("it was copied");
        assert!(text.contains(part), "{part}: {text}");
        fs::write(self.configuration(), text.replace(part, by)).expect("it can be written");
    }

    /// Gives a user another password.
    pub fn replace(&self, user: &str) {
        self.make(&["--replace", user]);
    }

    /// The file with a user's password.
    pub fn password_file(&self, user: &str) -> PathBuf {
        self.path().join("secrets").join(user)
    }

    /// The address of a broker with a user and the password.
    pub fn login(&self, user: &str, url: &str) -> String {
        login((user, &self.password(user)), url)
    }

    /// Options for a client of a user, which receives answers where that user may.
    pub fn options(&self, user: &str) -> ConnectOptions {
        ConnectOptions::with_user_and_password(user.to_owned(), self.password(user))
            .custom_inbox_prefix(format!("_INBOX_{user}"))
    }

    fn password(&self, user: &str) -> String {
        fs::read_to_string(self.password_file(user)).expect("it was made")
    }

    /// Runs `compose/secrets.sh` with these flags and users.
    fn make(&self, arguments: &[&str]) {
        let secrets = self.path().join("secrets");
        let (flags, users): (Vec<&str>, Vec<&str>) =
            arguments.iter().partition(|text| text.starts_with("--"));
        let status = Command::new(workspace::root().join("compose/secrets.sh"))
            .args(flags)
            .args([&secrets, &secrets])
            .args(users)
            .status();
        assert!(status.expect("a shell script can be run").success());
    }
}

/// Options for a client of the tests.
pub fn options() -> ConnectOptions {
    ConnectOptions::with_user_and_password(TESTS.0.to_owned(), TESTS.1.to_owned())
}

/// An address with a user and a password.
pub fn login((user, password): (&str, &str), url: &str) -> String {
    url.replacen("//", &format!("//{user}:{password}@"), 1)
}

/// Whether a configuration with this path, or one that it includes, names the directory of the store.
pub fn name_store(configuration: &str) -> bool {
    let directory = Path::new(configuration).parent();
    let settings = directory.map(|directory| directory.join("server.conf"));
    let text = settings.and_then(|settings| fs::read_to_string(settings).ok());
    text.is_some_and(|text| text.contains(STORE))
}
