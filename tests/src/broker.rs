//! A real NATS broker with JetStream, one for each test: a container or a process.
//!
//! It is configured by the project's own files in `compose/`, so that `sync_interval: always` holds wherever
//! the server knows it. Stopped and started again it has the same address and the same data.

mod container;
pub mod process;

use async_nats::jetstream::{self, context::GetStreamErrorKind};
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
}

#[derive(Debug)]
enum Server {
    Container(Box<container::Server>),
    Process(process::Server),
}

impl Broker {
    /// Starts one and waits until it can be used.
    pub async fn start() -> Self {
        let broker = Self::start_on(port::free()).await;
        broker.ready().await;
        broker
    }

    async fn start_on(port: u16) -> Self {
        let server = match Kind::of_this_run().await {
            Kind::Container { image } => {
                Server::Container(Box::new(container::Server::start(&image, port).await))
            }
            Kind::Process => Server::Process(process::Server::start(port)),
        };
        Self { server, port }
    }

    /// Its address.
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
        let client = async_nats::connect(self.url()).await;
        jetstream::new(client.expect("the broker can be connected to"))
    }

    async fn ready(&self) {
        ready(&self.url()).await;
    }
}

/// Waits until the broker at an address answers for JetStream.
pub async fn ready(url: &str) {
    eventually("the broker answers for JetStream", async || {
        let client = async_nats::connect(url)
            .await
            .map_err(|err| err.to_string())?;
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
        let broker = Broker::start_on(self.0).await;
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

/// The configuration in `compose/` for a server that calls itself `nats-server: v2.9.10`. Servers before 2.10
/// do not know `sync_interval` and refuse to start on it.
fn configuration(version: &str) -> std::path::PathBuf {
    let numbers = version.trim().rsplit('v').next().unwrap_or_default();
    let mut numbers = numbers.split('.').map(|number| number.parse::<u32>().ok());
    let (Some(Some(major)), Some(Some(minor))) = (numbers.next(), numbers.next()) else {
        panic!("nats-server --version says {version:?}, which has no version in it");
    };
    let file = if (major, minor) < (2, 10) {
        "nats-2.9.conf"
    } else {
        "nats.conf"
    };
    workspace::root().join("compose").join(file)
}
