//! A PostgreSQL server that can be killed, restarted and replaced by a standby: a process with the project's own
//! `compose/database.sh`, its data in a directory, and the user of the aggregators.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    database::{is_root, programs, succeeds},
    port,
    service::{self, Service, Signal},
    wait::{DEADLINE, eventually, holds},
    workspace,
};

/// The scripts that are copied to where the server's user can read them.
const SCRIPTS: [&str; 2] = ["passfile.sh", "database.sh"];

/// The name of the standby, which the server waits for.
const STANDBY: &str = "standby";

/// A server, killed on drop. Its data is temporary unless it was given a directory.
#[derive(Debug)]
pub struct Postgres {
    running: Option<Service>,
    programs: PathBuf,
    port: u16,
    /// The port that the server does not use: the next standby gets it.
    other_port: u16,
    /// Number of promoted standbys; each has data of its own.
    promoted: u32,
    directory: PathBuf,
    /// Deletes the data on drop, after the server has ended.
    _own: Option<TempDir>,
}

impl Postgres {
    /// Starts one with temporary data, and waits until it responds; `None` if PostgreSQL is not installed.
    pub async fn start() -> Option<Self> {
        let own = tempfile::tempdir().expect("a temporary directory can be created");
        let directory = own.path().to_owned();
        Self::start_on(directory, Some(own)).await
    }

    /// Starts one with its data in a directory, which is created and which the server's user can reach.
    pub async fn start_in(directory: PathBuf) -> Option<Self> {
        fs::create_dir_all(&directory).expect("a directory can be created");
        Self::start_on(directory, None).await
    }

    async fn start_on(directory: PathBuf, own: Option<TempDir>) -> Option<Self> {
        let programs = programs()?;
        let path = directory.as_path();
        let of_all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(path, of_all).expect("an own directory");
        for script in SCRIPTS {
            let from = workspace::root().join("compose").join(script);
            fs::copy(from, path.join(script)).expect("a file can be copied");
        }
        succeeds(
            Command::new("sh")
                .arg(path.join("passfile.sh"))
                .arg(path.join("server"))
                .arg(path),
        );
        if is_root() {
            // The server refuses to run as root.
            succeeds(
                Command::new("chown")
                    .args(["-R", "postgres"])
                    .arg(path.join("server")),
            );
        }
        let mut server = Self {
            running: None,
            programs,
            port: port::free(),
            other_port: port::free(),
            promoted: 0,
            directory,
            _own: own,
        };
        server.start_again().await;
        Some(server)
    }

    /// Its address for aggregators, which names the file of the password, and also the place of a standby.
    pub fn url(&self) -> String {
        self.url_through(&self.ports())
    }

    /// The same through proxies on these ports of this machine.
    pub fn url_through(&self, ports: &[u16]) -> String {
        let hosts: Vec<_> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let passfile = self.directory.join("database");
        format!(
            "postgres://aggregator@{}/events?passfile={}",
            hosts.join(","),
            passfile.display()
        )
    }

    /// Its port, and that of a standby.
    pub fn ports(&self) -> [u16; 2] {
        [self.port, self.other_port]
    }

    /// Replaces the server as after the loss of its machine: makes a standby that each COMMIT waits for, calls `meanwhile`, kills the
    /// server for good, and promotes the standby.
    pub async fn fail_over(&mut self, meanwhile: impl Future<Output = ()>) {
        let data = self.data_of(self.promoted + 1);
        self.copy_to(&data);
        let lost = self.data_of(self.promoted);
        let mut standby = self.spawn(&data, self.other_port);
        self.sql(&format!(
            "ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'"
        ));
        self.sql("SELECT pg_reload_conf()");
        eventually("every COMMIT waits for the standby", async || {
            let states = "SELECT state, sync_state FROM pg_stat_replication";
            let states = self.try_sql(states)?;
            assert!(standby.is_running(), "{}", standby.log().join("\n"));
            holds(states == "streaming\tsync", states)
        })
        .await;
        meanwhile.await;
        self.kill();
        self.running = Some(standby);
        self.promoted += 1;
        std::mem::swap(&mut self.port, &mut self.other_port);
        eventually("the standby is promoted", async || {
            let promoted = self.try_sql("SELECT pg_promote()")?;
            holds(promoted == "t", promoted)
        })
        .await;
        // The processes of the killed server still write to it until they end.
        eventually("the lost data is deleted", async || {
            fs::remove_dir_all(&lost).map_err(|err| err.to_string())
        })
        .await;
    }

    /// Copies the data, for a standby.
    fn copy_to(&self, data: &Path) {
        let rules = self.data_of(self.promoted).join("pg_hba.conf");
        let text = fs::read_to_string(&rules).expect("the rules can be read");
        let rule = "local replication all peer\n";
        if !text.contains(rule) {
            fs::write(&rules, text + rule).expect("the rules can be written");
        }
        self.sql("SELECT pg_reload_conf()");
        let server = self.directory.join("server");
        let from = format!(
            "host={} port={} application_name={STANDBY}",
            server.display(),
            self.port
        );
        let mut copying = self.as_owner(Path::new("pg_basebackup"));
        copying.args([
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--dbname",
            &from,
        ]);
        succeeds(copying.arg("--pgdata").arg(data));
    }

    fn data_of(&self, promoted: u32) -> PathBuf {
        let name = match promoted {
            0 => "data".to_owned(),
            number => format!("data-{number}"),
        };
        self.directory.join("server").join(name)
    }

    /// Starts it again after [`Self::kill`] or [`Self::stop`], and waits until it responds.
    pub async fn start_again(&mut self) {
        // The processes of a killed server end by themselves; until then another one refuses to start.
        eventually("the database responds", async || {
            if !self.is_running() {
                let data = self.data_of(self.promoted);
                self.running = Some(self.spawn(&data, self.port));
            }
            self.try_sql("SELECT 1").map(drop)
        })
        .await;
    }

    fn spawn(&self, data: &Path, port: u16) -> Service {
        let path = &self.directory;
        let mut command = self.as_owner(Path::new("sh"));
        command
            .arg(path.join("database.sh"))
            .arg(data)
            .arg(path.join("server/passfile"))
            .args(["-c", "listen_addresses=127.0.0.1"])
            // Its disk may be a small one.
            .args(["-c", "max_wal_size=256MB"])
            .arg("-c")
            .arg(format!("port={port}"))
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

    /// Whether it is running: a server that cannot write its WAL ends by itself.
    pub fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(Service::is_running)
    }

    /// Whether the server has written a text to its log since it was started.
    pub fn has_logged(&self, text: &str) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|server| server.log().iter().any(|line| line.contains(text)))
    }

    /// Suspends all of its processes with SIGSTOP.
    ///
    /// Panics if it is not running.
    pub fn suspend(&self) {
        let first = self.first();
        // The first one before the others: it starts no more then.
        service::signal(first, Signal::STOP);
        for id in service::children(first) {
            service::signal(id, Signal::STOP);
        }
    }

    /// Lets all of its processes continue.
    ///
    /// Panics if it is not running.
    pub fn resume(&self) {
        let first = self.first();
        for id in service::children(first) {
            service::signal(id, Signal::CONT);
        }
        service::signal(first, Signal::CONT);
    }

    fn first(&self) -> u32 {
        let running = self.running.as_ref().map(Service::id);
        running.expect("the database is running")
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
        psql.arg("-h").arg(self.directory.join("server"));
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

impl Drop for Postgres {
    fn drop(&mut self) {
        // Processes that stay suspended would not notice that the first one is killed.
        if self.is_running() {
            self.resume();
        }
    }
}
