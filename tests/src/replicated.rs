//! A database with a standby, which each COMMIT waits for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    database::{give, program, programs, succeeds},
    port,
};

/// The settings of both servers. The standby has no `synchronous_standby_names`: once it is the primary, it waits for nobody.
const SETTINGS: &str =
    "shared_buffers = 32MB\nmax_connections = 200\nunix_socket_directories = ''\n";

/// A primary and its standby, with an empty database `events`.
#[derive(Debug)]
pub struct Replicated {
    directory: TempDir,
    programs: PathBuf,
    ports: [u16; 2],
}

/// One of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The primary at first.
    First,
    /// Its standby.
    Second,
}

impl Replicated {
    /// Starts both, and lets each COMMIT wait for the standby. `None` if there is no PostgreSQL.
    pub fn start() -> Option<Self> {
        let programs = programs()?;
        let directory = tempfile::tempdir().expect("a temporary directory can be created");
        give(directory.path());
        let pair = Self {
            directory,
            programs,
            ports: [port::free(), port::free()],
        };
        let data = pair.data(Server::First);
        let mut initdb = program(&pair.programs, "initdb");
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8"]);
        succeeds(initdb.args(["--locale=C", "--no-sync", "-D"]).arg(&data));
        pair.start_server(Server::First, "");
        pair.sql_in("postgres", Server::First, "CREATE DATABASE events");
        let mut copy = program(&pair.programs, "pg_basebackup");
        copy.args(["--host=127.0.0.1", "--username=postgres", "--port"]);
        copy.arg(pair.ports[0].to_string());
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
        succeeds(copy.arg("-D").arg(pair.data(Server::Second)));
        pair.start_server(Server::Second, "");
        pair.stop_server(Server::First);
        pair.start_server(Server::First, "synchronous_standby_names = '*'\n");
        Some(pair)
    }

    /// The address of the store, with both servers.
    pub fn url(&self) -> String {
        let [first, second] = self.ports;
        format!("postgres://postgres@127.0.0.1:{first},127.0.0.1:{second}/events")
    }

    /// Kills the primary with SIGKILL.
    pub fn kill_primary(&self) {
        let file = self.data(Server::First).join("postmaster.pid");
        let text = fs::read_to_string(file).expect("the primary runs");
        let pid = text.lines().next().and_then(|pid| pid.parse().ok());
        let pid = pid.and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::KILL).expect("the primary can be killed");
    }

    /// Makes the standby the primary.
    pub fn promote(&self) {
        let mut promote = program(&self.programs, "pg_ctl");
        promote.args(["promote", "--silent", "-D"]);
        succeeds(promote.arg(self.data(Server::Second)));
    }

    /// Runs SQL in the store's database, and returns what `psql` prints.
    pub fn sql(&self, server: Server, sql: &str) -> String {
        self.sql_in("events", server, sql)
    }

    fn sql_in(&self, database: &str, server: Server, sql: &str) -> String {
        let mut psql = program(&self.programs, "psql");
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
        psql.args(["-h", "127.0.0.1", "-p", &self.port(server).to_string()]);
        let output = succeeds(psql.args(["-d", database, "-c", sql]));
        let text = String::from_utf8(output.stdout).expect("psql prints text");
        text.trim().to_owned()
    }

    fn start_server(&self, server: Server, settings: &str) {
        let data = self.data(server);
        let port = self.port(server);
        // Outside of the data, so that the copy does not get the primary's.
        let own = self.directory.path().join(format!("{port}.conf"));
        let include = data.join("postgresql.conf").display().to_string();
        let settings = format!(
            "include '{include}'\ndata_directory = '{}'\nhba_file = '{}'\nident_file = '{}'\nport = {port}\n\
             listen_addresses = '127.0.0.1'\n{SETTINGS}{settings}",
            data.display(),
            data.join("pg_hba.conf").display(),
            data.join("pg_ident.conf").display()
        );
        fs::write(&own, settings).expect("a file can be written");
        let mut start = program(&self.programs, "pg_ctl");
        start.args(["start", "--wait", "--silent", "-D"]).arg(&data);
        start.args(["-o", &format!("-c config_file={}", own.display())]);
        succeeds(start.arg("-l").arg(data.join("log")));
    }

    fn stop_server(&self, server: Server) {
        let mut stop = program(&self.programs, "pg_ctl");
        stop.args(["stop", "--mode=immediate", "--silent", "-D"]);
        // It may have been killed.
        let _ = stop.arg(self.data(server)).output();
    }

    fn data(&self, server: Server) -> PathBuf {
        let name = match server {
            Server::First => "first",
            Server::Second => "second",
        };
        Path::new(self.directory.path()).join(name)
    }

    fn port(&self, server: Server) -> u16 {
        self.ports[usize::from(server == Server::Second)]
    }
}

impl Drop for Replicated {
    fn drop(&mut self) {
        for server in [Server::First, Server::Second] {
            self.stop_server(server);
        }
    }
}
