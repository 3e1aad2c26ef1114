//! A PostgreSQL server that can be killed and restarted: a process with the project's own `compose/database.sh`, its
//! data in a directory, and the user of the aggregators.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    port,
    service::{Service, Signal},
    wait::{DEADLINE, eventually, holds},
    workspace,
};

/// The scripts that are copied to where the server's user can read them.
const SCRIPTS: [&str; 2] = ["passfile.sh", "database.sh"];

/// A server, killed on drop. Its data is temporary.
#[derive(Debug)]
pub struct Postgres {
    running: Option<Service>,
    programs: PathBuf,
    port: u16,
    directory: TempDir,
}

impl Postgres {
    /// Starts one, and waits until it responds; `None` if PostgreSQL is not installed.
    pub async fn start() -> Option<Self> {
        let programs = programs()?;
        let directory = tempfile::tempdir().expect("a temporary directory can be created");
        let path = directory.path();
        let of_all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(path, of_all).expect("an own directory");
        for script in SCRIPTS {
            let from = workspace::root().join("compose").join(script);
            fs::copy(from, path.join(script)).expect("a file can be copied");
        }
        run(Command::new("sh")
            .arg(path.join("passfile.sh"))
            .arg(path.join("server"))
            .arg(path));
        if is_root() {
            // The server refuses to run as root.
            run(Command::new("chown")
                .args(["-R", "postgres"])
                .arg(path.join("server")));
        }
        let mut server = Self {
            running: None,
            programs,
            port: port::free(),
            directory,
        };
        server.start_again().await;
        Some(server)
    }

    /// Its address for aggregators, which name the file of the password.
    pub fn url(&self) -> String {
        let passfile = self.directory.path().join("database");
        format!(
            "postgres://aggregator@127.0.0.1:{}/events?passfile={}",
            self.port,
            passfile.display()
        )
    }

    /// Starts it again after [`Self::kill`] or [`Self::stop`], and waits until it responds.
    pub async fn start_again(&mut self) {
        // The processes of a killed server end by themselves; until then another one refuses to start.
        eventually("the database responds", async || {
            if !self.running.as_mut().is_some_and(Service::is_running) {
                self.running = Some(self.spawn());
            }
            self.try_sql("SELECT 1").map(drop)
        })
        .await;
    }

    fn spawn(&self) -> Service {
        let path = self.directory.path();
        let mut command = self.as_owner(Path::new("sh"));
        command
            .arg(path.join("database.sh"))
            .args([path.join("server/data"), path.join("server/passfile")])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .arg("-c")
            .arg(format!("port={}", self.port))
            .arg("-c")
            .arg(format!(
                "unix_socket_directories={}",
                path.join("server").display()
            ));
        Service::start("PostgreSQL", &mut command)
    }

    /// A command that runs as the user that the server runs as.
    fn as_owner(&self, program: &Path) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .env("PATH", format!("{}:{path}", self.programs.display()))
            .current_dir("/");
        command
    }

    /// Kills the server's first process with SIGKILL; the others end when they notice it.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.running.take() {
            server.kill();
        }
    }

    /// Stops it in an orderly way, with its clients' transactions rolled back.
    pub async fn stop(&mut self) {
        if let Some(mut server) = self.running.take() {
            server.signal(Signal::INT);
            server.ended(DEADLINE).await;
        }
    }

    /// Runs SQL as the superuser, and returns what `psql` prints: unaligned, fields separated by tabs, without headers.
    ///
    /// Panics if it fails.
    pub fn sql(&self, sql: &str) -> String {
        self.try_sql(sql)
            .unwrap_or_else(|err| panic!("{sql}: {err}"))
    }

    /// Like [`Self::sql`].
    ///
    /// # Errors
    /// What `psql` prints, if it fails.
    pub fn try_sql(&self, sql: &str) -> Result<String, String> {
        let mut psql = self.as_owner(Path::new("psql"));
        psql.args(["-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", "events"]);
        psql.arg("-h").arg(self.directory.path().join("server"));
        psql.args(["-p", &self.port.to_string(), "-c", sql]);
        let output = psql.output().map_err(|err| err.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        holds(output.status.success(), text(&output.stderr))?;
        Ok(text(&output.stdout))
    }

    /// The number that a query returns.
    pub fn number(&self, sql: &str) -> i64 {
        let text = self.sql(sql);
        text.parse().unwrap_or_else(|_| panic!("{sql}: {text}"))
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("it can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The directory with the programs of the newest version.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut versions: Vec<_> = versions
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|programs| programs.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop()
}
