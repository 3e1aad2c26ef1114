//! A proxy between an aggregator and the database that loses the answer to a COMMIT.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
};

use crate::store::tests::database::Database;

/// What happens to the next COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    None,
    /// The connection is cut before the server receives it.
    Before,
    /// The connection is cut once the server has answered, before the answer is passed on.
    After,
    /// The connection to the client is cut as soon as the server has received it, whatever it does then.
    Meanwhile,
}

/// A running proxy.
pub struct Proxy {
    pub port: u16,
    next: Arc<AtomicU8>,
}

impl Proxy {
    pub async fn before(database: &Database) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let next = Arc::new(AtomicU8::new(Fault::None as u8));
        let socket = database.socket().join(".s.PGSQL.5432");
        let faults = Arc::clone(&next);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, socket.clone(), Arc::clone(&faults)));
            }
        });
        Self { port, next }
    }

    /// Lets this happen to the next COMMIT, once.
    pub fn fail_next(&self, fault: Fault) {
        self.next.store(fault as u8, Ordering::SeqCst);
    }

    /// Whether it has happened.
    pub fn has_failed(&self) -> bool {
        self.next.load(Ordering::SeqCst) == Fault::None as u8
    }
}

/// The statement as the protocol sends it: also the end of the server's answer to it.
const COMMIT: &[u8] = b"COMMIT\0";

fn has_commit(bytes: &[u8]) -> bool {
    bytes.windows(COMMIT.len()).any(|window| window == COMMIT)
}

async fn forward(mut client: TcpStream, socket: PathBuf, next: Arc<AtomicU8>) {
    let mut server = UnixStream::connect(socket).await.unwrap();
    let (mut sent, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut waits_for_answer = false;
    loop {
        tokio::select! {
            read = client.read(&mut sent) => {
                let Some(bytes) = read.ok().filter(|read| *read > 0) else { return };
                let bytes = &sent[..bytes];
                let mut fault = Fault::None as u8;
                if has_commit(bytes) {
                    fault = next.swap(Fault::None as u8, Ordering::SeqCst);
                }
                if fault == Fault::Before as u8 || server.write_all(bytes).await.is_err() {
                    return;
                }
                waits_for_answer |= fault == Fault::After as u8;
                if fault == Fault::Meanwhile as u8 {
                    drop(client);
                    // The server ends the connection when it has nothing more to read.
                    let _ = server.shutdown().await;
                    while server.read(&mut answered).await.is_ok_and(|read| read > 0) {}
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Some(bytes) = read.ok().filter(|read| *read > 0) else { return };
                let bytes = &answered[..bytes];
                if waits_for_answer {
                    if has_commit(bytes) { return }
                } else if client.write_all(bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}
