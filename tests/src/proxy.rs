//! A TCP proxy between a NATS client and its server, which does to frames what networks do, and worse.

mod frame;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

use self::frame::Kind;

/// What it does at present; to begin with, it hands everything on at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Weather {
    /// Everything is handed on at once.
    #[default]
    Fair,
    /// Nobody is let in, and every connection is cut.
    Cut,
    /// The next frame with a payload is cut in its middle, and the connection with it; then it is fair again.
    CutInFrame,
    /// Each frame waits so long.
    Delay(Duration),
    /// So many bytes a second go in each direction of a connection.
    Rate(u32),
    /// The server's `PubAck`s vanish.
    DropPubAcks,
    /// The client's acks vanish.
    DropAcks,
    /// The stream's messages vanish on their way to the consumer.
    DropDeliveries,
}

/// A proxy on a port of its own. It ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    _end: DropGuard,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    weather: Weather,
    /// Cancelled to cut all connections that are there.
    connections: CancellationToken,
}

impl Proxy {
    /// Starts one before the server on `target`, a port of this machine, which need not be there yet.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let end = CancellationToken::new();
        let shared = Arc::new(Shared {
            target,
            state: Mutex::new(State {
                weather: Weather::default(),
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

    /// Its address.
    pub fn url(&self) -> String {
        crate::broker::url(self.port)
    }

    /// Changes what it does.
    pub fn set(&self, weather: Weather) {
        let mut state = self.shared.state();
        state.weather = weather;
        if weather == Weather::Cut {
            state.connections.cancel();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What befalls a frame.
    fn weather(&self, kind: Kind) -> Weather {
        let mut state = self.state();
        match (state.weather, kind) {
            (Weather::CutInFrame, Kind::Line) => Weather::Fair,
            (Weather::CutInFrame, _) => std::mem::take(&mut state.weather),
            (weather, _) => weather,
        }
    }

    /// What cuts a connection that begins now; none where it is not let in.
    fn enter(&self, end: &CancellationToken) -> Option<CancellationToken> {
        let mut state = self.state();
        if state.weather == Weather::Cut {
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
            // With either direction the connection ends.
            tokio::select! {
                () = carry(from_client, to_server, &shared) => {}
                () = carry(from_server, to_client, &shared) => {}
            }
        }));
    }
}

/// Hands frames on until one side ends, or is cut.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut buffer = BytesMut::new();
    loop {
        if !from.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
            return;
        }
        while let Some((kind, mut frame)) = frame::take(&mut buffer) {
            let mut is_cut = false;
            match (shared.weather(kind), kind) {
                (Weather::DropPubAcks, Kind::PubAck)
                | (Weather::DropAcks, Kind::Ack)
                | (Weather::DropDeliveries, Kind::Delivery) => continue,
                (Weather::Delay(time), _) => sleep(time).await,
                (Weather::Rate(rate), _) => {
                    let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
                    sleep(Duration::from_secs(1) * bytes / rate).await;
                }
                (Weather::CutInFrame, _) => {
                    is_cut = true;
                    frame.truncate(frame.len() / 2);
                }
                _ => {}
            }
            if to.write_all(&frame).await.is_err() || is_cut {
                return;
            }
        }
    }
}
