//! A broker of three servers: processes with the project's own `compose/nats-cluster.conf` and its users.

use std::{path::Path, process::Command};

use async_nats::jetstream::{
    self,
    consumer::pull,
    stream::{ClusterInfo, Info, Stream},
};
use tempfile::TempDir;

use super::{
    process::Server,
    ready_with_users, url,
    users::{self, TESTS, Users},
};
use crate::{
    port,
    service::Signal,
    wait::{eventually, holds},
};

/// The broker's program, which PATH must have.
const PROGRAM: &str = "nats-server";

/// Whether clusters can be started; if not, this prints that the test is skipped.
pub fn is_available() -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(PROGRAM);
    command
        .arg("--version")
        .env("PATH", format!("{path}:/usr/sbin"));
    let is_available = command.output().is_ok_and(|output| output.status.success());
    if !is_available {
        eprintln!("skipped: clusters run as processes, and PATH has no {PROGRAM}");
    }
    is_available
}

/// Servers of a cluster.
pub const SERVERS: usize = 3;

/// The stream and the durable of an aggregator.
const STREAM: &str = "EVENTS";
const DURABLE: &str = "aggregator";

/// A cluster. On drop its servers are stopped, and its data is deleted if it is temporary.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Member>,
    users: Users,
    /// Deletes the data on drop, after the servers have ended.
    _own: Option<TempDir>,
}

#[derive(Debug)]
struct Member {
    server: Server,
    port: u16,
    is_suspended: bool,
}

impl Cluster {
    /// Starts one with temporary data, and waits until it is ready.
    pub async fn start() -> Self {
        let own = tempfile::tempdir().expect("a temporary directory can be created");
        let directory = own.path().to_owned();
        Self::start_on(&directory, Some(own)).await
    }

    /// Starts one on the data in a directory, and waits until it is ready.
    pub async fn start_in(directory: &Path) -> Self {
        Self::start_on(directory, None).await
    }

    async fn start_on(directory: &Path, own: Option<TempDir>) -> Self {
        let users = Users::new();
        let routes: Vec<_> = (0..SERVERS)
            .map(|_| format!("127.0.0.1:{}", port::free()))
            .collect();
        users.connect(&routes);
        let member = |(index, route): (usize, &String)| {
            let (port, name) = (port::free(), name(index));
            let environment = vec![
                ("NATS_NAME", name.clone()),
                ("NATS_ROUTE_LISTEN", route.clone()),
            ];
            let file = users.configuration_of_cluster();
            let server = Server::start_configured(port, &directory.join(name), &file, environment);
            Member {
                server,
                port,
                is_suspended: false,
            }
        };
        let members = routes.iter().enumerate().map(member).collect();
        let cluster = Self {
            members,
            users,
            _own: own,
        };
        cluster.ready().await;
        cluster
    }

    /// Its users.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// The ports of its servers.
    pub fn ports(&self) -> Vec<u16> {
        self.members.iter().map(|member| member.port).collect()
    }

    /// The addresses of all servers, without a user.
    pub fn url(&self) -> String {
        urls(self.ports())
    }

    /// The same with a user and the password.
    pub fn login(&self, user: &str) -> String {
        self.users.login(user, &self.url())
    }

    /// The same with the user that may do everything.
    pub fn login_of_tests(&self) -> String {
        users::login(TESTS, &self.url())
    }

    /// Kills a server with SIGKILL.
    pub fn kill(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.server.kill();
        member.is_suspended = false;
    }

    /// Kills a server with SIGKILL, and deletes its data, as if its disk was replaced.
    pub fn erase(&mut self, index: usize) {
        self.kill(index);
        let directory = self.members[index].server.directory();
        std::fs::remove_dir_all(directory).expect("its data can be deleted");
    }

    /// Stops a server gracefully.
    pub async fn stop(&mut self, index: usize) {
        self.members[index].server.stop().await;
    }

    /// Suspends a server with SIGSTOP.
    pub fn suspend(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.server.signal(Signal::STOP);
        member.is_suspended = true;
    }

    /// Lets every server run: those that were killed or stopped are started on their data, and those that were suspended
    /// continue.
    pub fn restore(&mut self) {
        for member in &mut self.members {
            if !member.server.is_started() {
                member.server.start_again();
            } else if member.is_suspended {
                member.server.signal(Signal::CONT);
            }
            member.is_suspended = false;
        }
    }

    /// JetStream over a separate connection to any of the running servers.
    pub async fn jetstream(&self) -> jetstream::Context {
        let running = self.members.iter();
        let running = running.filter(|member| member.server.is_started() && !member.is_suspended);
        let servers: Vec<_> = running.map(|member| url(member.port)).collect();
        let client = users::options().connect(servers).await;
        jetstream::new(client.expect("the broker can be connected to"))
    }

    /// Waits until every server that runs knows the leader of the cluster.
    pub async fn ready(&self) {
        for member in &self.members {
            if !member.server.is_started() || member.is_suspended {
                continue;
            }
            ready_with_users(&url(member.port)).await;
        }
    }

    /// The index of the server that leads the stream.
    pub async fn leader(&self) -> usize {
        self.led("the stream has a leader", async |stream| {
            Ok(stream.cached_info().cluster.clone())
        })
        .await
    }

    /// The index of the server that leads the durable.
    pub async fn leader_of_durable(&self) -> usize {
        self.led("the durable has a leader", async |stream| {
            let consumer = stream.get_consumer::<pull::Config>(DURABLE).await;
            let consumer = consumer.map_err(|err| err.to_string())?;
            Ok(consumer.cached_info().cluster.clone())
        })
        .await
    }

    async fn led(
        &self,
        what: &str,
        cluster: impl AsyncFn(Stream<Info>) -> Result<Option<ClusterInfo>, String>,
    ) -> usize {
        let jetstream = self.jetstream().await;
        eventually(what, async || {
            let stream = jetstream.get_stream(STREAM).await;
            let stream = stream.map_err(|err| err.to_string())?;
            let leader = cluster(stream).await?.and_then(|cluster| cluster.leader);
            let led_by = |index: &usize| Some(name(*index)) == leader;
            (0..SERVERS)
                .find(led_by)
                .ok_or_else(|| format!("{leader:?}"))
        })
        .await
    }

    /// Waits until every replica of the stream and of the durable has everything, and returns how many there are of each.
    pub async fn replicated(&self) -> (usize, usize) {
        let jetstream = self.jetstream().await;
        eventually("every replica has everything", async || {
            let stream = jetstream.get_stream(STREAM).await;
            let stream = stream.map_err(|err| err.to_string())?;
            let consumer = stream.get_consumer::<pull::Config>(DURABLE).await;
            let consumer = consumer.map_err(|err| err.to_string())?;
            Ok((
                current(stream.cached_info().cluster.as_ref())?,
                current(consumer.cached_info().cluster.as_ref())?,
            ))
        })
        .await
    }
}

/// The number of replicas, all of which must be up to date.
fn current(cluster: Option<&ClusterInfo>) -> Result<usize, String> {
    let cluster = cluster.ok_or("it is not in a cluster")?;
    let followers = &cluster.replicas;
    let is_current = followers.iter().all(|peer| peer.current && !peer.offline);
    holds(is_current && cluster.leader.is_some(), cluster)?;
    Ok(followers.len() + 1)
}

/// The name of a server, which the cluster knows it by.
fn name(index: usize) -> String {
    format!("nats-{}", index + 1)
}

/// The addresses of the servers on these ports.
pub fn urls(ports: impl IntoIterator<Item = u16>) -> String {
    ports.into_iter().map(url).collect::<Vec<_>>().join(",")
}
