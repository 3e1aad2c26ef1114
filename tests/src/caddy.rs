//! A real Caddy in front of an aggregator.
//!
//! `tests/run.sh` installs Debian's package where it may, and sets `E2E_CADDY` to the program. Without it a test that
//! needs Caddy says so and does nothing; with `E2E_REQUIRE=all` it fails.

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

/// A running Caddy. It is killed when this is dropped.
#[derive(Debug)]
pub struct Caddy {
    _service: Service,
    /// Its configuration and its data.
    place: TempDir,
}

impl Caddy {
    /// Starts one for a site that listens on this port of 127.0.0.1 with a certificate of Caddy's own authority; none
    /// where this machine has no Caddy.
    ///
    /// Panics where there is none though `E2E_REQUIRE=all` says that there must be.
    pub async fn with(site: &str, port: u16) -> Option<Self> {
        let program = needed("E2E_CADDY", "caddy")?;
        let place = tempfile::tempdir().expect("a temporary directory can be made");
        let file = place.path().join("Caddyfile");
        let global = "{\nadmin off\nskip_install_trust\nauto_https disable_redirects\ndefault_bind 127.0.0.1\n}\n";
        fs::write(&file, format!("{global}{site}")).expect("a file can be written");
        let mut command = command(&program, place.path());
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(&file);
        let mut service = Service::start("Caddy", &mut command);
        let authority = authority(place.path());
        eventually("Caddy listens", async || {
            let log = service.log();
            assert!(service.is_running(), "it ended: {}", log.join("\n"));
            let connected = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
            holds(connected.is_ok() && authority.exists(), log)
        })
        .await;
        Some(Self {
            _service: service,
            place,
        })
    }

    /// The hash of a password, as a site's configuration has it; none where this machine has no Caddy.
    pub fn hash(password: &str) -> Option<String> {
        let program = needed("E2E_CADDY", "caddy")?;
        let place = tempfile::tempdir().expect("a temporary directory can be made");
        let hashed = command(&program, place.path())
            .args(["hash-password", "--plaintext", password])
            .output()
            .expect("Caddy can be started");
        let hash = String::from_utf8(hashed.stdout).expect("a hash is text");
        Some(hash.trim().to_owned())
    }

    /// The certificate of its own authority.
    pub fn authority(&self) -> PathBuf {
        authority(self.place.path())
    }
}

fn authority(place: &Path) -> PathBuf {
    place.join("data/caddy/pki/authorities/local/root.crt")
}

fn command(program: &Path, place: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("HOME", place)
        .env("XDG_DATA_HOME", place.join("data"))
        .env("XDG_CONFIG_HOME", place.join("config"));
    command
}
