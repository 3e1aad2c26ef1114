//! A proxy between an aggregator and the database that lets one statement pass at a time, when the test says so.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream, tcp, unix},
    sync::Notify,
};

use crate::store::tests::database::Database;

/// A running proxy. It is open at first: all passes.
#[derive(Clone)]
pub struct Turnstile {
    pub port: u16,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    is_closed: bool,
    /// The statement that waits at the gate.
    held: Option<String>,
    is_released: bool,
    /// Statements that the server has not answered yet.
    unanswered: u32,
}

/// Where the aggregator behind a proxy is.
#[derive(Debug, PartialEq, Eq)]
pub enum At {
    /// Its next statement waits for the test: the SQL that is executed, empty if one is only prepared.
    Gate(String),
    /// The server has not answered its statement yet.
    Server,
    /// It has not sent anything since the last answer.
    Itself,
}

impl Turnstile {
    pub async fn before(database: &Database) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let gate = Arc::<Gate>::default();
        let socket = database.socket().join(".s.PGSQL.5432");
        let passing = Arc::clone(&gate);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&passing)));
            }
        });
        Self { port, gate }
    }

    /// Holds each statement from now on.
    pub fn close(&self) {
        self.gate.state().is_closed = true;
    }

    /// Lets all pass from now on.
    pub fn open(&self) {
        self.gate.state().is_closed = false;
        self.release();
    }

    /// Lets the statement that waits pass.
    pub fn release(&self) {
        let mut state = self.gate.state();
        if state.held.take().is_some() {
            state.is_released = true;
            state.unanswered += 1;
            self.gate.changed.notify_one();
        }
    }

    pub fn at(&self) -> At {
        let state = self.gate.state();
        match &state.held {
            Some(sql) => At::Gate(sql.clone()),
            None if state.unanswered > 0 => At::Server,
            None => At::Itself,
        }
    }
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a statement may pass.
    async fn pass(&self, sql: &str) {
        {
            let mut state = self.state();
            if !state.is_closed {
                state.unanswered += 1;
                return;
            }
            state.held = Some(sql.to_owned());
        }
        while !std::mem::take(&mut self.state().is_released) {
            self.changed.notified().await;
        }
    }

    fn answered(&self) {
        let mut state = self.state();
        // The first answer is to the connection itself.
        state.unanswered = state.unanswered.saturating_sub(1);
    }
}

async fn forward(client: TcpStream, server: UnixStream, gate: Arc<Gate>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Either ends with its connection.
    let _ = tokio::join!(
        statements(from_client, to_server, &gate),
        answers(from_server, to_client, &gate)
    );
}

/// Passes statements on, each with the messages before it up to the one that asks for its answer.
async fn statements(
    mut from: tcp::OwnedReadHalf,
    mut to: unix::OwnedWriteHalf,
    gate: &Gate,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    // The first message has no tag.
    read_body(&mut from, &mut bytes).await?;
    to.write_all(&bytes).await?;
    let mut prepared: HashMap<Vec<u8>, String> = HashMap::new();
    loop {
        let mut unit = Vec::new();
        let mut sql = String::new();
        loop {
            let tag = from.read_u8().await?;
            let start = unit.len();
            unit.push(tag);
            read_body(&mut from, &mut unit).await?;
            let mut texts = unit[start + 5..].split(|byte| *byte == 0);
            let mut text = || texts.next().unwrap_or_default().to_vec();
            match tag {
                b'Q' => sql = String::from_utf8_lossy(&text()).into_owned(),
                b'P' => {
                    let name = text();
                    prepared.insert(name, String::from_utf8_lossy(&text()).into_owned());
                }
                b'B' => {
                    let _portal = text();
                    sql = prepared.get(&text()).cloned().unwrap_or_default();
                }
                _ => {}
            }
            match tag {
                b'Q' | b'S' => break,
                // The client ends the connection.
                b'X' => return to.write_all(&unit).await,
                _ => {}
            }
        }
        gate.pass(&sql).await;
        to.write_all(&unit).await?;
    }
}

async fn answers(
    mut from: unix::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    gate: &Gate,
) -> io::Result<()> {
    loop {
        let mut message = vec![from.read_u8().await?];
        read_body(&mut from, &mut message).await?;
        to.write_all(&message).await?;
        // The server is ready for the next statement.
        if message[0] == b'Z' {
            gate.answered();
        }
    }
}

/// Reads the length of a message and what it counts.
async fn read_body(from: &mut (impl AsyncReadExt + Unpin), bytes: &mut Vec<u8>) -> io::Result<()> {
    let length = from.read_u32().await?;
    bytes.extend(length.to_be_bytes());
    let start = bytes.len();
    let rest = usize::try_from(length).map_err(io::Error::other)? - 4;
    bytes.resize(start + rest, 0);
    from.read_exact(&mut bytes[start..]).await?;
    Ok(())
}
