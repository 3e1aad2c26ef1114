//! The service, put together: what is opened, which tasks run, and in which order they end.

use std::{
    io::ErrorKind, net::SocketAddr, path::Path, process::ExitCode, sync::Arc, time::Instant,
};

use anyhow::Context;
use shared::{
    connection::Connection,
    publish::{Options, Publisher},
    service::Service,
    trace::Tracer,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tracing::info;

use crate::{
    clock,
    config::Settings,
    consumer::{Consumer, PATIENCE},
    data_dir::{DataDir, DataDirError},
    health::Health,
    http::{self, Api, Hosts, Live, MAX_PAGES, MAX_PIECES, MAX_TAILS},
    metrics::Metrics,
    store,
};

/// Events that share a message when many requests come at once.
const MESSAGE_EVENTS: usize = 1_000;

/// How long a request's events wait for those of other requests while the broker is not busy: as long as its sync takes,
/// about, and as short as the runtime's timer can tell.
const LINGER: std::time::Duration = std::time::Duration::from_millis(1);

/// Serves until a signal comes or a task fails.
///
/// Tasks end from the outside to the inside: the HTTP server finishes its requests, which need the publisher;
/// the consumer appends what is in hand, which needs the writer. Each inner task ends when the last of its
/// users is gone. Spans are made by `tracer`.
///
/// # Errors
/// Where the data directory, the store or the address cannot be had.
pub async fn serve(settings: Settings, tracer: Tracer) -> anyhow::Result<ExitCode> {
    let (started, started_at) = (Instant::now(), clock::now_micros());
    let data_dir = hold(&settings.data_dir).await?;
    let (writer, writer_ended, reader) =
        store::open(data_dir.path(), started_at, settings.bounds())
            .with_context(|| format!("cannot open the store in {}", data_dir.path().display()))?;
    let listener = listen(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {}", settings.listen))?;
    let address = listener.local_addr().context("cannot tell the address")?;
    let connection = Connection::open(&settings.servers(), "aggregator")
        .await
        .context("cannot use the NATS address")?;
    let health = Health::starting();
    let metrics = Metrics::new();
    let service = Service::default();
    let token = service.token();

    let options = Options {
        stream: settings.stream.clone(),
        max_events: MESSAGE_EVENTS,
        linger: LINGER,
        observer: Some(Arc::new(metrics.clone())),
        tracer: tracer.clone(),
    };
    let (publisher, driver) = Publisher::new(connection.clone(), options);
    let api = Arc::new(Api {
        reader,
        writer: writer.clone(),
        publisher,
        connection: connection.clone(),
        stream: settings.stream.clone(),
        durable: settings.durable.clone(),
        stream_max_bytes: settings.stream_max_bytes.as_u64(),
        health: health.clone(),
        metrics: metrics.clone(),
        tracer: tracer.clone(),
        pages: Arc::new(Semaphore::new(MAX_PAGES)),
        pieces: Arc::new(Semaphore::new(MAX_PIECES)),
        tails: Arc::new(Semaphore::new(MAX_TAILS)),
        stopping: token.clone(),
        otlp_topic: settings.otlp_topic.clone(),
        hosts: Hosts::new(&settings.allowed_hosts),
        live: Live::default(),
        identified_by_digest: 0.into(),
        started,
        started_at,
    });
    let consumer = Consumer {
        connection: connection.clone(),
        stream: settings.stream_settings(),
        keep_bytes: settings.stream_keep_bytes.as_u64(),
        durable: settings.durable.clone(),
        take_over: settings.take_over,
        place: data_dir.place(),
        writer,
        limits: settings.batch_limits(),
        patience: PATIENCE,
        health,
        metrics,
        tracer,
    };

    service.spawn("writer", async { Ok(writer_ended.wait().await?) });
    service.spawn("publisher", async {
        driver.run().await;
        Ok(())
    });
    service.spawn("consumer", consumer.run(token.clone()));
    let router = http::router(Arc::clone(&api));
    let samples = token.clone();
    let leaders = token.clone();
    let learner = Arc::clone(&api);
    service.spawn("live", async {
        http::keep_sampling(api, samples).await;
        Ok(())
    });
    service.spawn("leaders", async {
        http::keep_learning(learner, leaders).await;
        Ok(())
    });
    service.spawn("http", async {
        http::server::serve(listener, router, token).await;
        Ok(())
    });
    info!(
        address = format!("http://{address}"),
        data_dir = data_dir.path().display().to_string(),
        "listening"
    );
    let code = service.run().await.context("cannot listen to signals")?;
    // Acks are on their way through the client until it has written them.
    let _ = tokio::time::timeout(FLUSH, connection.client().flush()).await;
    Ok(code)
}

/// How long a predecessor that was just killed may take to be gone; the system frees its lock and its port a
/// moment after its end.
const PREDECESSOR: std::time::Duration = std::time::Duration::from_secs(2);

/// How often it is looked at.
const LOOK: std::time::Duration = std::time::Duration::from_millis(20);

/// Holds the data directory, as soon as a predecessor that is just ending lets go of it.
async fn hold(path: &Path) -> Result<DataDir, DataDirError> {
    let deadline = Instant::now() + PREDECESSOR;
    loop {
        match DataDir::hold(path) {
            Err(DataDirError::Held { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(LOOK).await;
            }
            held => return held,
        }
    }
}

/// Listens, as soon as a predecessor that is just ending has let go of the port.
async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let deadline = Instant::now() + PREDECESSOR;
    loop {
        match TcpListener::bind(address).await {
            Err(err) if err.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(LOOK).await;
            }
            bound => return bound,
        }
    }
}

/// How long the last acks have to get out.
const FLUSH: std::time::Duration = std::time::Duration::from_millis(500);
