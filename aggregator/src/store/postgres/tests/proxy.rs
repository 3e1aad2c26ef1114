//! A proxy between an aggregator and the database that loses the answer to a COMMIT, or answers a BEGIN itself.

use std::{
    ops::Range,
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

/// What happens to the next COMMIT, or BEGIN.
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
    /// BEGIN does not reach the server: it is answered as if the server had cancelled it. What is sent with it reaches the server.
    Begin,
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

    /// Lets this happen once.
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

const BEGIN: &[u8] = b"BEGIN ISOLATION LEVEL READ COMMITTED\0";

/// The tag and the length of a message.
const HEADER: usize = 5;

/// An error of a cancelled statement, and that the server is outside of a transaction.
const CANCELLED: &[u8] = b"E\0\0\0\x2fSERROR\0VERROR\0C57014\0Mcanceling statement\0\0Z\0\0\0\x05I";

/// Where the message BEGIN is.
fn begin(bytes: &[u8]) -> Option<Range<usize>> {
    let text = bytes
        .windows(BEGIN.len())
        .position(|window| window == BEGIN)?;
    Some(text - HEADER..text + BEGIN.len())
}

async fn forward(mut client: TcpStream, socket: PathBuf, next: Arc<AtomicU8>) {
    let mut server = UnixStream::connect(socket).await.unwrap();
    let (mut sent, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut waits_for_answer = false;
    loop {
        tokio::select! {
            read = client.read(&mut sent) => {
                let Some(bytes) = read.ok().filter(|read| *read > 0) else { return };
                let mut bytes = sent[..bytes].to_vec();
                if next.load(Ordering::SeqCst) == Fault::Begin as u8
                    && let Some(begin) = begin(&bytes)
                {
                    next.store(Fault::None as u8, Ordering::SeqCst);
                    bytes.drain(begin);
                    if client.write_all(CANCELLED).await.is_err() {
                        return;
                    }
                }
                let mut fault = Fault::None as u8;
                if has_commit(&bytes) {
                    fault = next.swap(Fault::None as u8, Ordering::SeqCst);
                }
                if fault == Fault::Before as u8 || server.write_all(&bytes).await.is_err() {
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
