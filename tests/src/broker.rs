//! A real NATS broker with JetStream, one for each test: a container or a process.
//!
//! It uses the project's own `compose/server.conf`, or with users `compose/nats.conf`. A cluster is in [`cluster`]. After a stop and restart it has the same address and data.

pub mod cluster;
mod container;
pub mod process;
pub mod users;

use async_nats::{
    ConnectOptions,
    jetstream::{self, ErrorCode, context::GetStreamErrorKind},
};
use tokio::sync::OnceCell;

use self::users::{TESTS, Users};
use crate::{port, service::Signal, wait::eventually, workspace};

/// How brokers are started in this run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ServerKind {
    Container { image: String },
    Process,
}

/// A broker. On drop it is stopped and its data is deleted.
#[derive(Debug)]
pub struct Broker {
    server: Server,
    port: u16,
    login: Login,
    users: Option<Users>,
}

/// The credentials that a broker requires of its clients.
#[derive(Debug, Clone, Default)]
pub enum Login {
    /// None.
    #[default]
    Open,
    /// This user, with this password.
    Password(&'static str, &'static str),
    /// This token.
    Token(&'static str),
}

impl Login {
    /// The server's flags for it.
    fn flags(&self) -> Vec<&'static str> {
        match *self {
            Self::Open => Vec::new(),
            Self::Password(user, password) => vec!["--user", user, "--pass", password],
            Self::Token(token) => vec!["--auth", token],
        }
    }

    fn options(&self) -> ConnectOptions {
        match *self {
            Self::Open => ConnectOptions::new(),
            Self::Password(user, password) => {
                ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
            }
            Self::Token(token) => ConnectOptions::with_token(token.to_owned()),
        }
    }
}

#[derive(Debug)]
enum Server {
    Container(Box<container::Server>),
    Process(process::Server),
}

impl Broker {
    /// Starts one and waits until it is ready.
    pub async fn start() -> Self {
        Self::demanding(Login::Open).await
    }

    /// Starts one that requires credentials, and waits until it is ready.
    pub async fn demanding(login: Login) -> Self {
        let broker = Self::start_on(port::free(), login, None).await;
        broker.ready().await;
        broker
    }

    /// Starts one with the project's users, and waits until it is ready.
    pub async fn with_users(users: Users) -> Self {
        let login = Login::Password(TESTS.0, TESTS.1);
        let broker = Self::start_on(port::free(), login, Some(users)).await;
        broker.ready().await;
        broker
    }

    /// The users.
    ///
    /// Panics if it was started without.
    pub fn users(&self) -> &Users {
        self.users.as_ref().expect("it was started with users")
    }

    /// Its address for a program: with its user and the password, if the broker has users.
    pub fn url_of(&self, program: &str) -> String {
        let users = self.users.as_ref();
        users.map_or_else(|| self.url(), |users| users.login(program, &self.url()))
    }

    /// Its address with a user and the password.
    pub fn login(&self, user: &str) -> String {
        self.users().login(user, &self.url())
    }

    /// Has it read its configuration and the passwords again.
    pub async fn reload(&mut self) {
        match &mut self.server {
            Server::Container(server) => server.reload().await,
            Server::Process(server) => server.signal(Signal::HUP),
        }
    }

    async fn start_on(port: u16, login: Login, users: Option<Users>) -> Self {
        let flags = if users.is_some() {
            Vec::new()
        } else {
            login.flags()
        };
        let server = match ServerKind::of_this_run().await {
            ServerKind::Container { image } => {
                let server = container::Server::start(&image, port, &flags, users.as_ref()).await;
                Server::Container(Box::new(server))
            }
            ServerKind::Process => {
                let own = process::flags_of(users.as_ref());
                let own = own.iter().map(String::as_str);
                let flags: Vec<_> = flags.into_iter().chain(own).collect();
                Server::Process(process::Server::start(port, &flags))
            }
        };
        Self {
            server,
            port,
            login,
            users,
        }
    }

    /// Its address, without credentials.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Stops it gracefully.
    pub async fn stop(&mut self) {
        match &mut self.server {
            Server::Container(server) => server.stop().await,
            Server::Process(server) => server.stop().await,
        }
    }

    /// Kills it with SIGKILL.
    pub async fn kill(&mut self) {
        match &mut self.server {
            Server::Container(server) => server.kill().await,
            Server::Process(server) => server.kill(),
        }
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`], with its address and data.
    pub async fn start_again(&mut self) {
        match &mut self.server {
            Server::Container(server) => server.start_again().await,
            Server::Process(server) => server.start_again(),
        }
        self.ready().await;
    }

    /// JetStream over a separate connection.
    pub async fn jetstream(&self) -> jetstream::Context {
        let client = self.login.options().connect(self.url()).await;
        jetstream::new(client.expect("the broker can be connected to"))
    }

    async fn ready(&self) {
        ready_for(&self.url(), &self.login).await;
    }
}

/// Waits until the broker at an address, or one of the servers at several with commas between them, responds to JetStream requests.
pub async fn ready(url: &str) {
    ready_for(url, &Login::Open).await;
}

/// Waits until a broker with users responds.
pub async fn ready_with_users(url: &str) {
    ready_for(url, &Login::Password(TESTS.0, TESTS.1)).await;
}

async fn ready_for(url: &str, login: &Login) {
    eventually("the broker responds to JetStream requests", async || {
        let servers: Vec<_> = url.split(',').collect();
        let client = login.options().connect(servers).await;
        let client = client.map_err(|err| err.to_string())?;
        // There is no such stream; a cluster without a leader does not know that.
        match jetstream::new(client).get_stream("ANY").await {
            Ok(_) => Ok(()),
            Err(err) => match err.kind() {
                GetStreamErrorKind::JetStream(err)
                    if err.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(())
                }
                _ => Err(err.to_string()),
            },
        }
    })
    .await;
}

/// The address of a broker that will be started on `port`.
pub fn url(port: u16) -> String {
    format!("nats://127.0.0.1:{port}")
}

/// A broker to be started later, so that its clients can be started before it.
#[derive(Debug)]
pub struct Later(u16);

impl Later {
    /// Chooses its address.
    #[expect(clippy::new_without_default, reason = "each has another port")]
    pub fn new() -> Self {
        Self(port::free())
    }

    /// The address that it will have.
    pub fn url(&self) -> String {
        url(self.0)
    }

    /// Starts it.
    pub async fn start(self) -> Broker {
        let broker = Broker::start_on(self.0, Login::Open, None).await;
        broker.ready().await;
        broker
    }
}

impl ServerKind {
    /// As `E2E_BROKER` says; by default a container if Docker responds and has the image, otherwise a process.
    async fn of_this_run() -> Self {
        static KIND: OnceCell<ServerKind> = OnceCell::const_new();
        KIND.get_or_init(Self::choose).await.clone()
    }

    async fn choose() -> Self {
        let image = std::env::var("E2E_NATS_IMAGE")
            .ok()
            .filter(|image| !image.is_empty())
            .unwrap_or_else(|| "nats:2.14-alpine".to_owned());
        match std::env::var("E2E_BROKER").as_deref() {
            Ok("container") => Self::Container { image },
            Ok("process") => Self::Process,
            Err(_) | Ok("") => match container::is_there(&image).await {
                Ok(()) => Self::Container { image },
                Err(reason) => {
                    eprintln!(
                        "brokers run as processes, because containers are not available: {reason}"
                    );
                    Self::Process
                }
            },
            Ok(other) => panic!("E2E_BROKER must be container or process, not {other}"),
        }
    }
}

/// The project's settings of the broker, without users.
fn configuration() -> std::path::PathBuf {
    workspace::root().join("compose/server.conf")
}
