//! Connections: the address of the database, TLS, and the pool.

mod address;
mod passfile;

use std::{
    ops::Deref,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{
    Client, ConfigConnectImpl, Hook, HookError, Manager, ManagerConfig, PoolError, QueueMode,
    RecyclingMethod, Runtime,
};
use shared::tls;
use tokio::time::timeout;
use tokio_postgres::NoTls;
use tokio_postgres_rustls::MakeRustlsConnect;

pub use self::address::{Address, AddressError};
use self::passfile::Connecting;
use super::{checks, error::DatabaseError};

/// The most connections of one aggregator: three batches, four queries, the upkeep, minutes that are
/// added to hours, and outcomes of what others append.
const CONNECTIONS: usize = 10;

/// How long a connection is waited for, and how long making one takes at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a read, an operation of the writer or a pass of the upkeep may take: several statements, each of which the server ends
/// after the time below. It passes only if an answer does not arrive.
pub(super) const LONGEST: Duration = Duration::from_secs(90);

/// Keeps the setting of a connection whose settings were checked, also if the server is configured in another way later.
const PIN: &str =
    "SELECT set_config('synchronous_commit', current_setting('synchronous_commit', true), false)";

/// Set for each connection. A frozen or partitioned aggregator must not hold the locks of its transaction: others may
/// wait for the same identity.
const SESSION: &str = "SET statement_timeout = '20s'; SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '15s'; SET TIME ZONE 'UTC'";

/// The connections of one aggregator.
#[derive(Debug, Clone)]
pub(super) struct Pool(deadpool_postgres::Pool);

impl Pool {
    /// Makes no connection yet.
    pub fn of(address: &Address) -> Self {
        let how = ManagerConfig {
            // A connection is only returned outside of transactions; one that is broken is found when it is used.
            recycling_method: RecyclingMethod::Fast,
        };
        let config = address.config.clone();
        let passfile = address.passfile.clone();
        let manager = match tls::client(address.root_certificates.as_deref()) {
            Ok(tls) if address.is_encrypted => {
                let tls = MakeRustlsConnect::new(tls);
                let inner = ConfigConnectImpl { tls };
                Manager::from_connect(config, Connecting { inner, passfile }, how)
            }
            _ => {
                let inner = ConfigConnectImpl { tls: NoTls };
                Manager::from_connect(config, Connecting { inner, passfile }, how)
            }
        };
        let prepare = Hook::async_fn(|client, _| {
            Box::pin(async move {
                let prepared = client.batch_execute(SESSION).await;
                prepared.map_err(HookError::Backend)?;
                let checked = checks::of(client).await;
                checked.map_err(|err| match err {
                    DatabaseError::Client(err) => HookError::Backend(err),
                    err => HookError::Message(err.to_string().into()),
                })?;
                let pinned = client.batch_execute(PIN).await;
                pinned.map_err(HookError::Backend)
            })
        });
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(CONNECTIONS)
            // The one that was used last is used first: each process of the server maps the pages of the shared buffers that it touches, and caches
            // what it has prepared, so few should do most of the work.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(PATIENCE))
            .create_timeout(Some(PATIENCE))
            .post_create(prepare)
            .build();
        Self(pool.expect("timeouts have a runtime"))
    }

    /// A connection outside of any transaction.
    pub async fn get(&self) -> Result<Connection, DatabaseError> {
        let client = self.0.get().await.map_err(|err| match err {
            PoolError::Backend(err) | PoolError::PostCreateHook(HookError::Backend(err)) => {
                DatabaseError::Client(err)
            }
            PoolError::PostCreateHook(HookError::Message(setting)) => {
                DatabaseError::Setting(setting.into_owned())
            }
            err => DatabaseError::Pool(err.to_string()),
        })?;
        Ok(Connection {
            client: Some(client),
            given_up: GIVEN_UP.try_with(Arc::clone).ok(),
        })
    }

    /// The number of open connections.
    #[cfg(test)]
    pub fn size(&self) -> usize {
        self.0.status().size
    }
}

tokio::task_local! {
    /// Whether the work that this task does was given up.
    static GIVEN_UP: Arc<AtomicBool>;
}

/// Says that work was given up, when it is dropped.
struct GivesUp(Arc<AtomicBool>);

impl Drop for GivesUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does work for at most this long. If it is given up, then or because nobody waits for it any more, the connections that it has at
/// that time are closed: the next who took one from the pool would wait for the same answer.
pub(super) async fn limited<T, E: From<DatabaseError>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let given_up = Arc::new(AtomicBool::new(false));
    let mut work = pin!(GIVEN_UP.scope(Arc::clone(&given_up), work));
    // Declared after the work, and so dropped before it.
    let _gives_up = GivesUp(given_up);
    let done = timeout(limit, &mut work).await;
    done.unwrap_or_else(|_| Err(DatabaseError::Silent(limit).into()))
}

/// A connection of the pool. It returns there, unless the work that it was taken for is given up.
pub(super) struct Connection {
    client: Option<Client>,
    given_up: Option<Arc<AtomicBool>>,
}

impl Connection {
    fn close(mut self) {
        if let Some(client) = self.client.take() {
            drop(Client::take(client));
        }
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client.as_ref().expect("it is taken only at the end")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let given_up = self.given_up.as_ref();
        if given_up.is_some_and(|given_up| given_up.load(Ordering::Relaxed))
            && let Some(client) = self.client.take()
        {
            drop(Client::take(client));
        }
    }
}

/// A connection in a transaction. Dropped before its end, it is closed, so that the server rolls back.
pub(super) struct Transaction(Option<Connection>);

impl Transaction {
    /// Begins a transaction with the server's isolation `READ COMMITTED`.
    pub async fn begin(pool: &Pool) -> Result<Self, DatabaseError> {
        Self::begun_by(pool, "BEGIN ISOLATION LEVEL READ COMMITTED").await
    }

    /// Begins a transaction that only reads, and whose statements all read one snapshot.
    pub async fn snapshot(pool: &Pool) -> Result<Self, DatabaseError> {
        Self::begun_by(pool, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await
    }

    /// Nothing else is sent before the server has answered: if it refused to begin, each statement would commit by itself.
    async fn begun_by(pool: &Pool, statement: &str) -> Result<Self, DatabaseError> {
        let transaction = Self(Some(pool.get().await?));
        transaction.client().batch_execute(statement).await?;
        Ok(transaction)
    }

    /// The connection.
    pub fn client(&self) -> &Client {
        self.0.as_ref().expect("it is taken only at the end")
    }

    /// Commits.
    pub async fn commit(self) -> Result<(), DatabaseError> {
        self.client().batch_execute("COMMIT").await?;
        self.ended();
        Ok(())
    }

    /// Rolls back, so that the connection can be used again.
    pub async fn roll_back(self) -> Result<(), DatabaseError> {
        self.client().batch_execute("ROLLBACK").await?;
        self.ended();
        Ok(())
    }

    /// Returns the connection, whose transaction has ended, to the pool.
    pub fn ended(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.close();
        }
    }
}
