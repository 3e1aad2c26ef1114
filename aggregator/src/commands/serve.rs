//! `aggregator serve`: puts the service together and decides in which order its tasks end.

use std::{
    fmt, io::ErrorKind, net::SocketAddr, path::Path, process::ExitCode, sync::Arc, time::Instant,
};

use anyhow::{Context, bail};
use shared::{
    connection::Connection,
    message,
    publish::{Options, Publisher},
    service::{Service, Signals},
    telemetry::Recent,
    trace::Tracer,
};
use tokio::{
    net::TcpListener,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    access::{self, Access, Tokens},
    clock,
    config::Settings,
    consumer::{Consumer, PATIENCE},
    data_dir::{DataDir, DataDirError},
    health::{Health, Part},
    http::{
        self, Api, Authenticator, Broker, Edge, Hosts, Instruments, Intake, Process,
        starting::Entrance,
    },
    metrics::Metrics,
    reread,
    store::{self, Address, Limits, Opening, Reader, StoreError, Writer, WriterEnded},
    tls::Tls,
};

/// Serves until a signal arrives or a task fails.
///
/// Tasks end from the outside to the inside: the HTTP server finishes its requests, which need the publisher;
/// the consumer appends its batches, which needs the writer. Each inner task ends when the last of its
/// users has ended. Spans are created by `tracer`; `recent` has the last log lines.
///
/// # Errors
/// If the data directory, the store or the address cannot be used.
pub async fn serve(settings: Settings, tracer: Tracer, recent: Recent) -> anyhow::Result<ExitCode> {
    let (started, started_at) = (Instant::now(), clock::now_micros());
    let mut signals = Signals::new().context("cannot listen for signals")?;
    // One that arrives before the tasks below listen for it changes nothing: the files are read after this.
    let _hangups = reread::hangups()?;
    // Before the data directory is made: a wrong setting changes nothing.
    let tokens = settings.tokens.as_deref().map(Tokens::read_own);
    let tokens = tokens.transpose()?;
    let tls = tls_of(&settings)?;
    let place = Place::of(&settings).await?;
    let (listener, address) = listen(settings.listen).await?;
    let connection = Connection::open(&settings.servers(), "aggregator")
        .await
        .context("cannot use the NATS address")?;
    let access = access_of(tokens, &settings);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let metrics = Metrics::new();
    let service = Service::default();
    let token = service.token();

    let health = Health::starting();
    let authenticator = Authenticator::new(access, metrics.clone());
    watch_access(&service, &authenticator, &settings, &health);

    let shares = settings.shares();
    let opening = Opening::default();
    let edge = Edge {
        hosts: Hosts::new(&settings.allowed_hosts),
        authenticator,
        instruments: Instruments {
            metrics: metrics.clone(),
            tracer: tracer.clone(),
        },
    };
    let entrance = Entrance::new(opening.clone(), edge.clone());
    watch_tls(&service, tls.as_ref(), &settings, &health);
    answer(&service, listener, tls, entrance.clone(), metrics.clone());
    info!(
        address = format!("{scheme}://{address}"),
        "opening the store; until it is open all requests are answered with 503"
    );
    let opened = open_store(&place, &settings, started_at, opening, &mut signals)
        .await
        .with_context(|| format!("cannot open the store in {place}"))?;
    let Some((writer, writer_ended, reader)) = opened else {
        token.cancel();
        return Ok(service.run_until(signals).await);
    };

    let options = of_publisher(&settings, &metrics, &tracer);
    let (publisher, driver) = Publisher::new(connection.clone(), options);
    let broker = Broker {
        connection: connection.clone(),
        publisher,
        stream: settings.stream.clone(),
        durable: settings.durable.clone(),
        stream_max_bytes: settings.stream_max_bytes.as_u64(),
    };
    let process = Process {
        health: health.clone(),
        metrics: metrics.clone(),
        stopping: token.clone(),
        started,
        started_at,
        settings: settings.shown(),
        recent,
    };
    let store = (reader, writer.clone());
    let mut api = Api::new(store, broker, process, edge, settings.otlp_topic.clone());
    api.intake = Intake::of(in_memory(shares.bodies));
    let api = Arc::new(api);
    let consumer = Consumer {
        connection: connection.clone(),
        stream: settings.stream_settings(),
        keep_bytes: settings.stream_keep_bytes.as_u64(),
        durable: settings.durable.clone(),
        take_over: settings.take_over,
        location: place.location(),
        writer,
        limits: settings.batch_limits(),
        pull_bytes: in_memory(shares.pull),
        patience: PATIENCE,
        health: health.clone(),
        metrics,
        tracer,
    };
    let checking = keep_checking(consumer.writer.clone(), health, token.clone());

    service.spawn("writer", async { Ok(writer_ended.wait().await?) });
    service.spawn("publisher", async {
        driver.run().await;
        Ok(())
    });
    service.spawn("consumer", consumer.run(token.clone()));
    service.spawn("store", checking);
    entrance.open(http::router(Arc::clone(&api)));
    watch_counts(&service, api);
    info!(
        address = format!("{scheme}://{address}"),
        store = place.to_string(),
        "listening"
    );
    let code = service.run_until(signals).await;
    // The client buffers acks until it has written them.
    let _ = tokio::time::timeout(FLUSH, connection.client().flush()).await;
    Ok(code)
}

/// Who may use the service: those with one of the tokens, or everybody without a tokens file.
fn access_of(tokens: Option<Tokens>, settings: &Settings) -> Access {
    if let Some(tokens) = tokens {
        return Access::with(tokens);
    }
    let everybody = "everybody who reaches the HTTP API may publish, read and operate everything; --tokens changes that";
    if settings.allow_anonymous {
        warn!("access is anonymous: {everybody}");
    } else {
        info!("access is anonymous, and only this machine has it: {everybody}");
    }
    Access::anonymous()
}

/// The certificate of the HTTP API, if it speaks HTTPS. Warns about keys and passwords that other users can read.
fn tls_of(settings: &Settings) -> anyhow::Result<Option<Tls>> {
    for warning in settings.warnings() {
        warn!("{warning}");
    }
    let Some(files) = settings.tls() else {
        return Ok(None);
    };
    let tls = Tls::read(files).map_err(anyhow::Error::msg);
    tls.context("cannot use the certificate").map(Some)
}

/// Follows the changes of the certificate; without it and tokens, says so at SIGHUP.
fn watch_tls(service: &Service, tls: Option<&Tls>, settings: &Settings, health: &Health) {
    if let Some(tls) = tls.cloned() {
        let reading = tls.keep_reading(health.clone(), service.token());
        service.spawn("tls", reading);
    } else if settings.tokens.is_none() {
        service.spawn("hangups", reread::keep_declining(service.token()));
    }
}

/// How the HTTP API publishes.
fn of_publisher(settings: &Settings, metrics: &Metrics, tracer: &Tracer) -> Options {
    Options {
        stream: settings.stream.clone(),
        max_events: message::MAX_ELEMENTS,
        subjects: settings.subjects,
        observer: Some(Arc::new(metrics.clone())),
        tracer: tracer.clone(),
    }
}

/// Follows the changes of the tokens file, and reports failed attempts to authenticate.
fn watch_access(
    service: &Service,
    authenticator: &Authenticator,
    settings: &Settings,
    health: &Health,
) {
    let token = service.token();
    if let Some(file) = settings.tokens.clone() {
        let access = authenticator.access.clone();
        let reading = access::keep_reading(file, access, health.clone(), token.clone());
        service.spawn("tokens", reading);
    }
    let reporting = authenticator.failures.clone().keep_reporting(token);
    service.spawn("failures", async {
        reporting.await;
        Ok(())
    });
}

/// Serves HTTP from now on, before the store is open, which takes minutes if its index is rebuilt.
fn answer(
    service: &Service,
    listener: TcpListener,
    tls: Option<Tls>,
    entrance: Entrance,
    metrics: Metrics,
) {
    let token = service.token();
    service.spawn("http", async {
        http::server::serve(listener, tls, entrance, metrics, token).await;
        Ok(())
    });
}

/// Keeps in memory what the page requests all the time: the leading topics, and a sample of the counts each second.
fn watch_counts(service: &Service, api: Arc<Api>) {
    let (learner, token) = (Arc::clone(&api), service.token());
    service.spawn("leaders", async {
        http::keep_learning(learner, token).await;
        Ok(())
    });
    let token = service.token();
    service.spawn("live", async {
        http::keep_sampling(api, token).await;
        Ok(())
    });
}

/// A size of something in memory.
fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Where the store is.
enum Place {
    /// In a directory, which is locked.
    Directory(DataDir),
    /// In a database, which others may use, too.
    Database(Address),
}

impl Place {
    /// Locks the directory, unless the store is in a database.
    async fn of(settings: &Settings) -> Result<Self, DataDirError> {
        match settings.store() {
            Some(address) => Ok(Self::Database(address)),
            None => hold(&settings.data_dir).await.map(Self::Directory),
        }
    }

    /// The location, for operators of other stores. All aggregators that share a store give the same.
    fn location(&self) -> String {
        match self {
            Self::Directory(directory) => directory.location(),
            Self::Database(address) => address.to_string(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => write!(f, "{}", directory.path().display()),
            Self::Database(address) => write!(f, "{address}"),
        }
    }
}

/// Opens the store, that in a directory on its own thread. `None` if a signal arrives first; a half-finished opening is restarted
/// at the next start, as after a kill.
async fn open_store(
    place: &Place,
    settings: &Settings,
    now: i64,
    opening: Opening,
    signals: &mut Signals,
) -> anyhow::Result<Option<(Writer, WriterEnded, Reader)>> {
    let limits = Limits {
        bounds: settings.bounds(),
        memory: settings.shares().store,
    };
    let opened = async {
        match place {
            Place::Directory(directory) => {
                let directory = directory.path().to_owned();
                let open = move || store::open_reporting(&directory, now, limits, opening);
                Ok(spawn_blocking(open)
                    .await
                    .context("opening was interrupted")??)
            }
            Place::Database(address) => {
                Ok(store::open_shared(address, now, limits.bounds, &opening).await?)
            }
        }
    };
    tokio::select! {
        opened = opened => opened.map(Some),
        name = signals.next() => {
            info!(signal = name, "stopping while the store is being opened");
            Ok(None)
        }
    }
}

/// How long a predecessor that was just killed may take to disappear; the system frees its lock and its port a
/// moment after its end.
const PREDECESSOR: std::time::Duration = std::time::Duration::from_secs(2);

/// How often the lock and the port are retried.
const RETRY: std::time::Duration = std::time::Duration::from_millis(20);

/// How often the store is checked while nothing is written.
const CHECK: std::time::Duration = std::time::Duration::from_millis(500);

/// Reports in `/health` when the store's files are deleted or replaced or its database cannot be written to, and when that is over,
/// even while nothing is written.
async fn keep_checking(
    writer: Writer,
    health: Health,
    token: CancellationToken,
) -> anyhow::Result<()> {
    let mut ticks = interval(CHECK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    let checking = async {
        loop {
            ticks.tick().await;
            match writer.check().await {
                Ok(()) if is_failing => {
                    is_failing = false;
                    health.works(Part::Store);
                }
                Ok(()) => {}
                // The writer's end is reported by its task.
                Err(StoreError::Stopped) => return,
                Err(err) => {
                    is_failing = true;
                    health.fails(Part::Store, err.to_string());
                }
            }
        }
    };
    tokio::select! {
        () = checking => {}
        () = token.cancelled() => {}
    }
    Ok(())
}

/// Locks the data directory, waiting for a predecessor that is just ending.
async fn hold(path: &Path) -> Result<DataDir, DataDirError> {
    let deadline = Instant::now() + PREDECESSOR;
    loop {
        match DataDir::hold(path) {
            Err(DataDirError::Held { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(RETRY).await;
            }
            held => return held,
        }
    }
}

/// Listens on the address, waiting for a predecessor that is just ending. Returns the address with its port, too, which the system
/// chooses for port 0.
async fn listen(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let deadline = Instant::now() + PREDECESSOR;
    loop {
        match TcpListener::bind(address).await {
            Err(err) if err.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(RETRY).await;
            }
            Err(err) => {
                let advice = match err.kind() {
                    ErrorKind::AddrInUse => {
                        "; stop the process that uses it, or choose another port with --listen"
                    }
                    ErrorKind::AddrNotAvailable => {
                        "; --listen takes an address of this machine, or 0.0.0.0 for all of them"
                    }
                    _ => "",
                };
                bail!("cannot listen on {address}: {err}{advice}");
            }
            Ok(listener) => {
                let address = listener.local_addr();
                return Ok((listener, address.context("cannot determine the address")?));
            }
        }
    }
}

/// How long the last acks may take to be written.
const FLUSH: std::time::Duration = std::time::Duration::from_millis(500);
