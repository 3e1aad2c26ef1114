//! A real Caddy in front of an aggregator.
//!
//! `tests/run.sh` installs Debian's package where it can, and sets `E2E_CADDY` to the program. Without it, a test
//! that needs Caddy prints that it is skipped; with `E2E_REQUIRE=all` it fails.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    browser::needed,
    service::Service,
    wait::{eventually, holds},
};

/// A running Caddy, killed on drop.
#[derive(Debug)]
pub struct Caddy {
    _service: Service,
    /// Its configuration and data.
    directory: TempDir,
}

impl Caddy {
    /// Starts one for a site that listens on this port of 127.0.0.1 with a certificate of Caddy's own authority; none
    /// if this machine has no Caddy.
    ///
    /// Panics if there is none although `E2E_REQUIRE=all` requires it.
    pub async fn with(site: &str, port: u16) -> Option<Self> {
        let program = needed("E2E_CADDY", "caddy")?;
        let directory = tempfile::tempdir().expect("a temporary directory can be created");
        let file = directory.path().join("Caddyfile");
        let global = "{\nadmin off\nskip_install_trust\nauto_https disable_redirects\ndefault_bind 127.0.0.1\n}\n";
        fs::write(&file, format!("{global}{site}")).expect("a file can be written");
        let mut command = command(&program, directory.path());
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(&file);
        let mut service = Service::start("Caddy", &mut command);
        let authority = authority(directory.path());
        eventually("Caddy listens", async || {
            let log = service.log();
            assert!(service.is_running(), "it ended: {}", log.join("\n"));
            let connected = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
            holds(connected.is_ok() && authority.exists(), log)
        })
        .await;
        Some(Self {
            _service: service,
            directory,
        })
    }

    /// The hash of a password, as used in a site's configuration; none if this machine has no Caddy.
    pub fn hash(password: &str) -> Option<String> {
        let program = needed("E2E_CADDY", "caddy")?;
        let directory = tempfile::tempdir().expect("a temporary directory can be created");
        let hashed = command(&program, directory.path())
            .args(["hash-password", "--plaintext", password])
            .output()
            .expect("Caddy can be started");
        let hash = String::from_utf8(hashed.stdout).expect("a hash is text");
        Some(hash.trim().to_owned())
    }

    /// The certificate of its own authority.
    pub fn authority(&self) -> PathBuf {
        authority(self.directory.path())
    }
}

fn authority(directory: &Path) -> PathBuf {
    directory.join("data/caddy/pki/authorities/local/root.crt")
}

fn command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("HOME", directory)
        .env("XDG_DATA_HOME", directory.join("data"))
        .env("XDG_CONFIG_HOME", directory.join("config"));
    command
}
