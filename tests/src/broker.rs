//! A real NATS broker with JetStream, one for each test: a container or a process.
//!
//! It is configured by the project's own `compose/nats.conf`. Stopped and started again it has the same address and the same data.

mod container;
pub mod process;

use async_nats::{
    ConnectOptions,
    jetstream::{self, context::GetStreamErrorKind},
};
use tokio::sync::OnceCell;

use crate::{port, wait::eventually, workspace};

/// How brokers are started in this run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Container { image: String },
    Process,
}

/// A broker. It ends, with its data, when this is dropped.
#[derive(Debug)]
pub struct Broker {
    server: Server,
    port: u16,
    login: Login,
}

/// What a broker demands of its clients.
#[derive(Debug, Clone, Default)]
pub enum Login {
    /// Nothing.
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
    /// Starts one and waits until it can be used.
    pub async fn start() -> Self {
        Self::demanding(Login::Open).await
    }

    /// Starts one that demands something of its clients, and waits until it can be used.
    pub async fn demanding(login: Login) -> Self {
        let broker = Self::start_on(port::free(), login).await;
        broker.ready().await;
        broker
    }

    async fn start_on(port: u16, login: Login) -> Self {
        let flags = login.flags();
        let server = match Kind::of_this_run().await {
            Kind::Container { image } => {
                let server = container::Server::start(&image, port, &flags).await;
                Server::Container(Box::new(server))
            }
            Kind::Process => Server::Process(process::Server::start(port, &flags)),
        };
        Self {
            server,
            port,
            login,
        }
    }

    /// Its address, without what it demands.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Ends it in good order.
    pub async fn stop(&mut self) {
        match &mut self.server {
            Server::Container(server) => server.stop().await,
            Server::Process(server) => server.stop().await,
        }
    }

    /// Ends it so that it can do nothing about it.
    pub async fn kill(&mut self) {
        match &mut self.server {
            Server::Container(server) => server.kill().await,
            Server::Process(server) => server.kill(),
        }
    }

    /// Starts it again, after [`Self::stop`] or [`Self::kill`], with its address and data.
    pub async fn start_again(&mut self) {
        match &mut self.server {
            Server::Container(server) => server.start_again().await,
            Server::Process(server) => server.start_again(),
        }
        self.ready().await;
    }

    /// JetStream over a connection of the test's own.
    pub async fn jetstream(&self) -> jetstream::Context {
        let client = self.login.options().connect(self.url()).await;
        jetstream::new(client.expect("the broker can be connected to"))
    }

    async fn ready(&self) {
        ready_for(&self.url(), &self.login).await;
    }
}

/// Waits until the broker at an address answers for JetStream.
pub async fn ready(url: &str) {
    ready_for(url, &Login::Open).await;
}

async fn ready_for(url: &str, login: &Login) {
    eventually("the broker answers for JetStream", async || {
        let client = login.options().connect(url).await;
        let client = client.map_err(|err| err.to_string())?;
        // Whether there is such a stream or not, an answer of JetStream's is what counts.
        match jetstream::new(client).get_stream("ANY").await {
            Ok(_) => Ok(()),
            Err(err) => match err.kind() {
                GetStreamErrorKind::JetStream(_) => Ok(()),
                _ => Err(err.to_string()),
            },
        }
    })
    .await;
}

/// Where a broker listens that will be started on `port`.
pub fn url(port: u16) -> String {
    format!("nats://127.0.0.1:{port}")
}

/// A broker to be, so that those who need it can be started before it.
#[derive(Debug)]
pub struct Later(u16);

impl Later {
    /// Chooses its address.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        Self(port::free())
    }

    /// The address that it will have.
    pub fn url(&self) -> String {
        url(self.0)
    }

    /// Starts it.
    pub async fn start(self) -> Broker {
        let broker = Broker::start_on(self.0, Login::Open).await;
        broker.ready().await;
        broker
    }
}

impl Kind {
    /// As `E2E_BROKER` says, or a container where Docker answers and has the image, otherwise a process.
    async fn of_this_run() -> Self {
        static KIND: OnceCell<Kind> = OnceCell::const_new();
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
                    eprintln!("brokers are processes, for there is no container: {reason}");
                    Self::Process
                }
            },
            Ok(other) => panic!("E2E_BROKER is {other}; it is container or process"),
        }
    }
}

/// The project's configuration.
fn configuration() -> std::path::PathBuf {
    workspace::root().join("compose/nats.conf")
}
