//! A TCP proxy between the clients of NATS or PostgreSQL and their server that injects network faults into frames.

mod frame;
mod nats;
mod postgres;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::sleep,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::frame::{FrameKind, Frames, Protocol};

/// What it does at present; by default it forwards everything immediately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Conditions {
    /// Everything is forwarded immediately.
    #[default]
    Fair,
    /// No connection is accepted, and every open one is cut.
    Cut,
    /// The next frame with a payload is cut in the middle, together with its connection; then it is `Fair` again.
    CutInFrame,
    /// Each frame is delayed by this time.
    Delay(Duration),
    /// Each direction of a connection is limited to this many bytes per second.
    Rate(u32),
    /// Nothing is forwarded, and connections stay open, as if every packet was lost. What was held is forwarded afterwards.
    Hold,
    /// Of four COMMITs, one passes; one is cut off, with its connection, before the server receives it; one is cut off when it was
    /// sent to the server, whatever that does then; and the answer to one is dropped and its connection cut.
    CutAtCommits,
    /// The server's `PubAck`s are dropped.
    DropPubAcks,
    /// The client's acks are dropped.
    DropAcks,
    /// The stream's messages are dropped on their way to the consumer.
    DropDeliveries,
}

/// How often it is tried whether what is held can be forwarded.
const HELD: Duration = Duration::from_millis(20);

/// A proxy on a free port. It ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    _end: DropGuard,
}

#[derive(Debug)]
struct Shared {
    protocol: Protocol,
    target: u16,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    conditions: Conditions,
    /// COMMITs that were cut off or not.
    commits: usize,
    /// Cancelled to cut all open connections.
    connections: CancellationToken,
}

/// What happens to a COMMIT and its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommitCut {
    None,
    Before,
    Sent,
    Answered,
}

/// What happens to the COMMITs, in turn.
const CUTS: [CommitCut; 4] = [
    CommitCut::Answered,
    CommitCut::None,
    CommitCut::Sent,
    CommitCut::Before,
];

impl Proxy {
    /// Starts one in front of the broker on `target`, a port of this machine, which need not be running yet.
    pub async fn start(target: u16) -> Self {
        Self::before(target, Protocol::Nats).await
    }

    /// Starts one in front of the PostgreSQL server on `target`, which need not be running yet.
    pub async fn of_database(target: u16) -> Self {
        Self::before(target, Protocol::Postgres).await
    }

    async fn before(target: u16, protocol: Protocol) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let end = CancellationToken::new();
        let shared = Arc::new(Shared {
            protocol,
            target,
            state: Mutex::new(State {
                conditions: Conditions::default(),
                commits: 0,
                connections: end.child_token(),
            }),
        });
        let accepting = accept(listener, Arc::clone(&shared), end.clone());
        tokio::spawn(end.clone().run_until_cancelled_owned(accepting));
        Self {
            port,
            shared,
            _end: end.drop_guard(),
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address for clients of NATS.
    pub fn url(&self) -> String {
        crate::broker::url(self.port)
    }

    /// Changes what it does.
    pub fn set(&self, conditions: Conditions) {
        let mut state = self.shared.state();
        state.conditions = conditions;
        if conditions == Conditions::Cut {
            state.connections.cancel();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to a frame of this kind.
    fn conditions(&self, kind: FrameKind) -> Conditions {
        let mut state = self.state();
        match (state.conditions, kind) {
            (Conditions::CutInFrame, FrameKind::Line) => Conditions::Fair,
            (Conditions::CutInFrame, _) => std::mem::take(&mut state.conditions),
            (conditions, _) => conditions,
        }
    }

    /// What happens to the next COMMIT.
    fn commit(&self) -> CommitCut {
        let mut state = self.state();
        if state.conditions != Conditions::CutAtCommits {
            return CommitCut::None;
        }
        state.commits += 1;
        CUTS[state.commits % CUTS.len()]
    }

    /// The token that cuts a new connection; none if it is not accepted.
    fn enter(&self, end: &CancellationToken) -> Option<CancellationToken> {
        let mut state = self.state();
        if state.conditions == Conditions::Cut {
            return None;
        }
        if state.connections.is_cancelled() {
            state.connections = end.child_token();
        }
        Some(state.connections.clone())
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, end: CancellationToken) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let Some(cut) = shared.enter(&end) else {
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(cut.run_until_cancelled_owned(async move {
            let Ok(server) = TcpStream::connect(("127.0.0.1", shared.target)).await else {
                return;
            };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let (of_client, of_server) = (
                Frames::of_client(shared.protocol),
                Frames::of_server(shared.protocol),
            );
            let is_answer_cut = AtomicBool::new(false);
            let pass = |from, to, frames| carry(from, to, frames, &shared, &is_answer_cut);
            // The connection ends when either direction does.
            tokio::select! {
                () = pass(from_client, to_server, of_client) => {}
                () = pass(from_server, to_client, of_server) => {}
            }
        }));
    }
}

/// Forwards frames until one side ends, or the connection is cut. `is_answer_cut` is of the connection: whether it is cut instead of
/// forwarding the next answer to a COMMIT.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut frames: Frames,
    shared: &Shared,
    is_answer_cut: &AtomicBool,
) {
    let mut buffer = BytesMut::new();
    loop {
        if !from.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
            return;
        }
        while let Some((kind, mut frame)) = frames.take(&mut buffer) {
            let mut is_cut = false;
            let mut conditions = shared.conditions(kind);
            while conditions == Conditions::Hold {
                sleep(HELD).await;
                conditions = shared.conditions(kind);
            }
            match (conditions, kind) {
                (Conditions::DropPubAcks, FrameKind::PubAck)
                | (Conditions::DropAcks, FrameKind::Ack)
                | (Conditions::DropDeliveries, FrameKind::Delivery) => continue,
                (Conditions::Delay(time), _) => sleep(time).await,
                (Conditions::Rate(rate), _) => {
                    let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
                    sleep(Duration::from_secs(1) * bytes / rate).await;
                }
                (Conditions::CutInFrame, _) => {
                    is_cut = true;
                    frame.truncate(frame.len() / 2);
                }
                _ => {}
            }
            match kind {
                FrameKind::Commit => match shared.commit() {
                    CommitCut::None => {}
                    CommitCut::Before => return,
                    CommitCut::Sent => is_cut = true,
                    CommitCut::Answered => is_answer_cut.store(true, Ordering::Relaxed),
                },
                FrameKind::Committed if is_answer_cut.load(Ordering::Relaxed) => return,
                _ => {}
            }
            if to.write_all(&frame).await.is_err() || is_cut {
                return;
            }
        }
    }
}
