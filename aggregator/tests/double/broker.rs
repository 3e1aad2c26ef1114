//! The double as scripts use it: a broker on a port, with access to its state.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::{interval, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{server::Server, wire};

/// Far more than any step takes on a slow machine, so that only a condition that never becomes true fails.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// More often than clients request.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Frames that may wait for a socket.
const OUTBOX: usize = 10_000;

#[derive(Debug, Clone)]
pub struct Broker {
    pub port: u16,
    shared: Arc<Shared>,
    /// The tasks end when the last of these is dropped.
    _guard: Arc<DropGuard>,
}

#[derive(Debug)]
struct Shared {
    server: Mutex<Server>,
    changes: watch::Sender<()>,
}

impl Broker {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            server: Mutex::new(Server::new()),
            changes: watch::Sender::new(()),
        });
        let token = CancellationToken::new();
        let accepting = accept(listener, port, Arc::clone(&shared), token.clone());
        tokio::spawn(token.clone().run_until_cancelled_owned(accepting));
        Self {
            port,
            shared,
            _guard: Arc::new(token.drop_guard()),
        }
    }

    /// Reads or changes the server's state.
    pub fn with<T>(&self, work: impl FnOnce(&mut Server) -> T) -> T {
        self.shared.with(work)
    }

    /// Waits until `probe` returns a value.
    pub async fn until<T>(&self, what: &str, mut probe: impl FnMut(&mut Server) -> Option<T>) -> T {
        let mut changes = self.shared.changes.subscribe();
        let wait = async {
            loop {
                changes.mark_unchanged();
                if let Some(answer) = self.with_quietly(&mut probe) {
                    return answer;
                }
                changes.changed().await.expect("the double is running");
            }
        };
        let waited = timeout(DEADLINE, wait).await;
        waited.unwrap_or_else(|_| {
            let server = self.shared.lock();
            panic!("not after {DEADLINE:?}: {what}: {server:#?}")
        })
    }

    /// Reads the state without waking waiters.
    fn with_quietly<T>(&self, work: impl FnOnce(&mut Server) -> T) -> T {
        let mut server = self.shared.lock();
        assert!(server.faults.is_empty(), "{:#?}", server.faults);
        work(&mut server)
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Server) -> T) -> T {
        let result = work(&mut self.lock());
        self.changes.send_replace(());
        result
    }

    fn lock(&self) -> MutexGuard<'_, Server> {
        // A test that panicked while it held the lock left the state consistent.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, port: u16, shared: Arc<Shared>, token: CancellationToken) {
    let mut changes = shared.changes.subscribe();
    loop {
        // Connections made while the double is closed wait in the system's queue.
        while !shared.lock().is_open {
            changes.changed().await.expect("it is shared");
            changes.mark_unchanged();
        }
        let socket = tokio::select! {
            accepted = listener.accept() => accepted.expect("a connection").0,
            _ = changes.changed() => continue,
        };
        let serving = serve(socket, port, Arc::clone(&shared));
        tokio::spawn(token.clone().run_until_cancelled_owned(serving));
    }
}

/// Serves one client until either side ends it.
async fn serve(socket: TcpStream, port: u16, shared: Arc<Shared>) {
    let (outbox, mut frames) = mpsc::channel(OUTBOX);
    let Some(link) = shared.with(|server| server.connect(outbox)) else {
        return;
    };
    let (mut reader, mut writer) = socket.into_split();
    let mut buffer = BytesMut::new();
    let mut heartbeat = interval(HEARTBEAT);
    let version = shared.lock().version;
    let info = wire::info(port, version);
    let mut is_up = writer.write_all(&info).await.is_ok();
    while is_up {
        tokio::select! {
            read = reader.read_buf(&mut buffer) => is_up = read.is_ok_and(|bytes| bytes > 0),
            frame = frames.recv() => is_up = match frame {
                Some(frame) => writer.write_all(&frame).await.is_ok(),
                None => false,
            },
            _ = heartbeat.tick() => shared.with(|server| server.beat(link)),
        }
        loop {
            match wire::read(&mut buffer) {
                Ok(Some(op)) => shared.with(|server| server.hear(link, op)),
                Ok(None) => break,
                Err(err) => {
                    shared.with(|server| server.faults.push(err));
                    is_up = false;
                    break;
                }
            }
        }
    }
    shared.with(|server| server.disconnect(link));
}
