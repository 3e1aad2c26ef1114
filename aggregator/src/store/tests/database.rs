//! A PostgreSQL server of the tests' own: Debian's, in a temporary directory, on a socket in it. One serves all tests that run at the
//! same time; each has a database of its own in it.
//!
//! Without the programs, tests that need it say that they are skipped; with `E2E_REQUIRE=all` they fail.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;

/// The server that runs now, if there is one.
static RUNNING: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// A running server, stopped when the last test that uses it ends.
#[derive(Debug)]
pub struct Server {
    directory: TempDir,
    programs: PathBuf,
    databases: AtomicU32,
}

/// An empty database.
#[derive(Debug, Clone)]
pub struct Database {
    server: Arc<Server>,
    name: String,
}

impl Database {
    /// Creates one; `None` if there is no PostgreSQL.
    pub fn new() -> Option<Self> {
        let server = Server::shared()?;
        let number = server.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        server.sql("postgres", &format!("CREATE DATABASE {name}"));
        Some(Self { server, name })
    }

    /// Another one with the same content. Waits until nobody uses this one.
    #[must_use]
    pub fn copy(&self) -> Self {
        let server = Arc::clone(&self.server);
        let number = server.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        server.sql(
            "postgres",
            &format!("CREATE DATABASE {name} TEMPLATE {}", self.name),
        );
        Self { server, name }
    }

    /// Its address through the server's socket.
    pub fn url(&self) -> String {
        let socket = self.socket().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}/{}", self.name)
    }

    /// Its address through a proxy on a port of this machine.
    pub fn url_through(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/{}", self.name)
    }

    /// The directory of the server's socket.
    pub fn socket(&self) -> &Path {
        self.server.directory.path()
    }

    /// Runs SQL, and returns what `psql` prints: unaligned, without headers.
    pub fn sql(&self, sql: &str) -> String {
        self.server.sql(&self.name, sql)
    }
}

impl Server {
    fn shared() -> Option<Arc<Self>> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = running.upgrade() {
            return Some(server);
        }
        let Some(programs) = programs() else {
            let requires_all = std::env::var("E2E_REQUIRE").is_ok_and(|required| required == "all");
            assert!(
                !requires_all,
                "PostgreSQL is not installed, and E2E_REQUIRE=all requires it"
            );
            eprintln!("skipped: PostgreSQL is not installed (Debian: postgresql)");
            return None;
        };
        let server = Arc::new(Self::start(programs));
        *running = Arc::downgrade(&server);
        Some(server)
    }

    fn start(programs: PathBuf) -> Self {
        let directory = tempfile::tempdir().unwrap();
        if is_root() {
            // The server refuses to run as root.
            succeeds(Command::new("chown").arg("postgres").arg(directory.path()));
        }
        let server = Self {
            directory,
            programs,
            databases: AtomicU32::new(0),
        };
        let data = server.data();
        let mut initdb = server.program("initdb");
        initdb.args([
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "-D",
        ]);
        succeeds(initdb.arg(&data));
        let socket = server.directory.path().display();
        let settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{socket}'\nshared_buffers = 32MB\nmax_connections = 200\n"
        );
        let own = server.directory.path().join("own.conf");
        fs::write(&own, settings).unwrap();
        let include = format!("-c config_file={}/postgresql.conf", data.display());
        // Its file includes the tests' settings.
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(data.join("postgresql.conf"))
            .unwrap();
        std::io::Write::write_all(
            &mut file,
            format!("include '{}'\n", own.display()).as_bytes(),
        )
        .unwrap();
        let mut start = server.program("pg_ctl");
        start.args(["start", "--wait", "--silent", "-D"]).arg(&data);
        start.arg("-o").arg(include).arg("-l");
        start.arg(server.data().join("log"));
        succeeds(&mut start);
        server
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/");
        command
    }

    fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = self.program("psql");
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"]);
        psql.arg(self.directory.path())
            .args(["-d", database, "-c", sql]);
        let output = succeeds(&mut psql);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = self.program("pg_ctl");
        stop.args(["stop", "--mode=immediate", "--silent", "-D"]);
        // The test has already ended.
        let _ = stop.arg(self.data()).output();
    }
}

/// Whether this process is that of the administrator.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The directory with the programs of the newest version.
pub fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut versions: Vec<_> = versions
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|programs| programs.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop()
}

/// Runs a program that must succeed.
pub fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output
}
