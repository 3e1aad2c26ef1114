//! Connections: the address of the database, TLS, and the pool.

use std::{
    fmt,
    ops::Deref,
    path::PathBuf,
    pin::pin,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{
    Client, Hook, HookError, Manager, ManagerConfig, PoolError, RecyclingMethod, Runtime,
};
use shared::tls::{self, TlsError};
use tokio::time::timeout;
use tokio_postgres::{
    Config, NoTls,
    config::{Host, SslMode, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::DatabaseError;

/// The most connections of one aggregator: three batches, four queries, and the upkeep.
const CONNECTIONS: usize = 8;

/// How long a connection is waited for, and how long making one takes at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a read, an operation of the writer or a pass of the upkeep may take: several statements, each of which the server ends
/// after the time below. It passes only if an answer does not arrive.
pub(super) const LONGEST: Duration = Duration::from_secs(90);

/// Set for each connection. A frozen or partitioned aggregator must not hold the locks of its transaction: others may
/// wait for the same identity.
const SESSION: &str = "SET statement_timeout = '20s'; SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '15s'; SET TIME ZONE 'UTC'";

/// The address of a database, with everything that a connection needs.
#[derive(Clone)]
pub struct Address {
    config: Config,
    /// Whether connections are encrypted. The server's certificate is always checked then.
    is_encrypted: bool,
    root_certificates: Option<PathBuf>,
    shown: String,
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is not one.
    #[error(
        "is not the address of a database: {0}; expected postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full"
    )]
    Invalid(String),
    /// No encryption to another machine, though it was not asked for.
    #[error(
        "names a database on another machine; add ?sslmode=verify-full to encrypt its connections, or ?sslmode=disable if the network is trusted"
    )]
    Undecided,
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl FromStr for Address {
    type Err = AddressError;

    /// Understands `postgres://` URLs with one or several hosts. `sslmode` is `disable`, or `verify-full`; `require` and `verify-ca`
    /// are read as `verify-full`. `sslrootcert` names a file with trusted authorities.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let invalid = |reason: &str| AddressError::Invalid(reason.to_owned());
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(invalid("it does not begin with postgres://"));
        }
        // The client would end the password at the first one, and show the rest as a host.
        if text.matches('@').count() > 1 {
            return Err(invalid(
                "it has more than one @; write an @ in the user, the password or another part as %40",
            ));
        }
        let (url, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut mode, mut root_certificates, mut kept) = (None, None, Vec::new());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => {
                    let path = percent_encoding::percent_decode_str(value).decode_utf8();
                    root_certificates =
                        Some(path.map_err(|_| invalid("sslrootcert is not UTF-8"))?);
                }
                _ => kept.push(parameter),
            }
        }
        let mut config: Config = format!("{url}?{}", kept.join("&"))
            .parse()
            .map_err(|err: tokio_postgres::Error| invalid(&DatabaseError::from(err).to_string()))?;
        if config.get_hosts().is_empty() {
            return Err(invalid("it has no host"));
        }
        if config.get_dbname().is_none() {
            return Err(invalid("it has no database"));
        }
        let is_encrypted = match mode {
            Some("disable") => false,
            Some("require" | "verify-ca" | "verify-full") => true,
            Some(_) => return Err(invalid("sslmode is disable or verify-full")),
            None if config.get_hosts().iter().all(is_local) => false,
            None => return Err(AddressError::Undecided),
        };
        config
            .ssl_mode(if is_encrypted {
                SslMode::Require
            } else {
                SslMode::Disable
            })
            // A standby that is named too is passed over.
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .application_name("aggregator")
            .connect_timeout(PATIENCE)
            .tcp_user_timeout(PATIENCE)
            .keepalives_idle(PATIENCE);
        let address = Self {
            shown: shown(&config),
            config,
            is_encrypted,
            root_certificates: root_certificates.map(|path| path.as_ref().into()),
        };
        if is_encrypted {
            tls::client(address.root_certificates.as_deref())?;
        }
        Ok(address)
    }
}

/// Whether a host is this machine.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            let ip = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            name == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

/// Hosts and database, without the user and the password.
fn shown(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let hosts = config.get_hosts().iter().enumerate();
    let hosts = hosts.map(|(index, host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(index)),
        Host::Unix(path) => path.display().to_string(),
    });
    let hosts: Vec<_> = hosts.collect();
    format!(
        "postgres://{}/{}",
        hosts.join(","),
        config.get_dbname().unwrap_or("")
    )
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Without the password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

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
        let manager = match tls::client(address.root_certificates.as_deref()) {
            Ok(tls) if address.is_encrypted => {
                Manager::from_config(config, MakeRustlsConnect::new(tls), how)
            }
            _ => Manager::from_config(config, NoTls, how),
        };
        let prepare = Hook::async_fn(|client, _| {
            Box::pin(async move {
                let prepared = client.batch_execute(SESSION).await;
                prepared.map_err(HookError::Backend)
            })
        });
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(CONNECTIONS)
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
    ///
    /// Nothing else is sent before the server has answered: if it refused to begin, each statement would commit by itself.
    pub async fn begin(pool: &Pool) -> Result<Self, DatabaseError> {
        let transaction = Self(Some(pool.get().await?));
        transaction
            .client()
            .batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            .await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, AddressError> {
        text.parse()
    }

    #[test]
    fn an_address_is_shown_without_user_and_password() {
        let address = parse("postgres://u:p%40ss@a,b:7000/events?sslmode=disable").unwrap();
        assert_eq!(address.to_string(), "postgres://a:5432,b:7000/events");
        assert!(!format!("{address:?}").contains("p@ss"));
    }

    #[test]
    fn a_password_with_an_at_sign_is_not_shown_as_a_host() {
        for text in [
            "postgres://u:p@ss@db/e?sslmode=disable",
            "postgres://u:p@s/s@db/e?sslmode=disable",
            "postgres://u:p@s/s?s@db/e=",
        ] {
            let err = parse(text).unwrap_err().to_string();
            assert!(err.contains("%40"), "{err}");
            assert!(!err.contains("@db"), "{err}");
        }
    }

    #[test]
    fn connections_to_another_machine_are_encrypted_or_the_address_says_that_they_are_not() {
        for local in ["localhost", "127.0.0.1", "%2Frun%2Fpostgresql"] {
            assert!(
                !parse(&format!("postgres://{local}/d"))
                    .unwrap()
                    .is_encrypted
            );
        }
        assert!(matches!(
            parse("postgres://db/d"),
            Err(AddressError::Undecided)
        ));
        assert!(parse("postgres://db/d?sslmode=prefer").is_err());
        assert!(
            !parse("postgres://db/d?sslmode=disable")
                .unwrap()
                .is_encrypted
        );
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for text in [
            "./data",
            "postgres://",
            "postgres://h",
            "mysql://h/d",
            "postgres://h/d?sslmode=disable&nonsense=1",
        ] {
            let err = parse(text).unwrap_err().to_string();
            assert!(err.contains("postgres://USER"), "{text}: {err}");
        }
    }
}
