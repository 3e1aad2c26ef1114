//! The API over a store, without a broker.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use aggregator::{
    access::Access,
    health::Health,
    http::{self, Authenticator, Broker, Edge, Hosts, Instruments, Process},
    metrics::Metrics,
    store::{Reader, Writer},
};
use anyhow::{Context, ensure};
use axum::{
    Router,
    body::Body,
    http::{Request, header},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use shared::{
    connection::{Connection, Servers},
    publish::{Options, Publisher, Subjects},
    telemetry::Recent,
    trace::Tracer,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::intake::now_micros;

/// The service's routes, without the network.
#[derive(Debug, Clone)]
pub struct Api(Router);

impl Api {
    /// The API over this store.
    pub async fn new(reader: Reader, writer: Writer) -> anyhow::Result<Self> {
        let nowhere = Servers::parse(&["nats://127.0.0.1:1"]).map_err(anyhow::Error::msg)?;
        let connection = Connection::open(&nowhere, "bench").await?;
        let options = Options {
            stream: "EVENTS".to_owned(),
            max_events: 100,
            subjects: Subjects::default(),
            observer: None,
            tracer: Tracer::off(),
        };
        let (publisher, _) = Publisher::new(connection.clone(), options);
        let broker = Broker {
            connection,
            publisher,
            stream: "EVENTS".to_owned(),
            durable: "aggregator".to_owned(),
            stream_max_bytes: 1 << 30,
        };
        let process = Process {
            health: Health::starting(),
            metrics: Metrics::new(),
            stopping: CancellationToken::new(),
            started: Instant::now(),
            started_at: now_micros(),
            settings: BTreeMap::new(),
            recent: Recent::default(),
        };
        let edge = Edge {
            hosts: Hosts::default(),
            authenticator: Authenticator::new(Access::anonymous(), process.metrics.clone()),
            instruments: Instruments {
                metrics: process.metrics.clone(),
                tracer: Tracer::off(),
            },
        };
        let store = (reader, writer);
        let api = http::Api::new(store, broker, process, edge, "service.name".to_owned());
        Ok(Self(http::router(Arc::new(api))))
    }

    /// Sends a request and reads the whole response.
    pub async fn get(&self, path: &str) -> anyhow::Result<Bytes> {
        let request = Request::get(path)
            .header(header::HOST, "localhost")
            .body(Body::empty())?;
        let response = self.0.clone().oneshot(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body
            .map_err(anyhow::Error::msg)
            .context("reading the body")?;
        ensure!(status.is_success(), "the status of {path} is {status}");
        Ok(body.to_bytes())
    }
}
