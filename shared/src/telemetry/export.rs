//! The export of spans by OTLP over HTTP, beside the work: what cannot be sent is dropped, and said once.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
};
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::trace::Tracer;

/// What is appended to the endpoint (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).
const TRACES: &str = "v1/traces";

/// Spans that wait to be sent, unless the environment says otherwise; more are dropped. Those of a batch's messages end at
/// once, and a few batches have to fit.
const QUEUE: usize = 16_384;

/// Where OpenTelemetry says otherwise.
const QUEUE_IN_ENVIRONMENT: &str = "OTEL_BSP_MAX_QUEUE_SIZE";

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long the last spans have to get out at the end of the process.
const FLUSH: Duration = Duration::from_secs(1);

/// Why spans cannot be exported at all.
#[derive(Debug, thiserror::Error)]
#[error("spans cannot be exported: {0}")]
pub enum ExportError {
    /// The exporter does not take its settings, those in the environment included.
    Exporter(#[from] ExporterBuildError),
    /// There is no HTTP client.
    Client(#[from] reqwest::Error),
}

/// The export, or none.
#[derive(Debug)]
pub struct Export(Option<(SdkTracerProvider, &'static str)>);

/// Checks an endpoint as settings give it: `http://127.0.0.1:4318`, or nothing. It has no secrets, for what the log says of
/// it is not hidden.
///
/// # Errors
/// What is wrong with it, without the endpoint itself.
pub fn check_endpoint(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    match reqwest::Url::parse(text) {
        Ok(url) if url.scheme() != "http" || !url.has_host() => {
            Err("not an address that begins with http://".to_owned())
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => Err(
            "an address with a user or a password; OTEL_EXPORTER_OTLP_HEADERS is for them, as in authorization=…"
                .to_owned(),
        ),
        Ok(_) => Ok(()),
        Err(err) => Err(format!("no address ({err}); one is http://127.0.0.1:4318")),
    }
}

impl Export {
    /// Exports the spans of a service to an endpoint that [`check_endpoint`] took; without one there are none. Spans are
    /// gathered on a thread of their own and sent on the runtime, which has to be there until the end.
    ///
    /// # Errors
    /// [`ExportError`]; never because nobody is there to take them.
    pub fn start(
        endpoint: Option<&str>,
        service: &'static str,
        version: &'static str,
        runtime: &Handle,
    ) -> Result<Self, ExportError> {
        let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) else {
            return Ok(Self(None));
        };
        let endpoint = format!("{}/{TRACES}", endpoint.trim_end_matches('/'));
        let shown = host_and_port(&endpoint);
        let collector = Collector {
            shown: shown.clone(),
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(TIMEOUT)
                .build()?,
            runtime: runtime.clone(),
            is_failing: AtomicBool::new(false),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_endpoint(&endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(TIMEOUT)
            .build()?;
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attribute(KeyValue::new("service.version", version))
            .build();
        let mut waiting = BatchConfigBuilder::default();
        if std::env::var_os(QUEUE_IN_ENVIRONMENT).is_none() {
            waiting = waiting.with_max_queue_size(QUEUE);
        }
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(waiting.build())
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource)
            .build();
        info!(endpoint = shown, "exporting spans");
        Ok(Self(Some((provider, service))))
    }

    /// Makes spans that are exported; off where nothing is.
    #[must_use]
    pub fn tracer(&self) -> Tracer {
        match &self.0 {
            Some((provider, service)) => Tracer::on(provider.tracer(*service)),
            None => Tracer::off(),
        }
    }

    /// Sends what is there, for at most a second. The runtime must not be waited for by this thread.
    pub fn end(self) {
        if let Some((provider, _)) = self.0 {
            // That spans do not get out was said where they were sent.
            let _ = provider.shutdown_with_timeout(FLUSH);
        }
    }
}

/// Of an address, what the log says: a path or a query may hold a secret.
fn host_and_port(address: &str) -> String {
    let address = reqwest::Url::parse(address).ok();
    let shown = address.and_then(|address| {
        let port = address.port_or_known_default()?;
        Some(format!("{}:{port}", address.host_str()?))
    });
    shown.unwrap_or_default()
}

/// An error with its causes, on one line.
fn told(err: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(err.source(), |cause| cause.source());
    causes.fold(err.to_string(), |told, cause| format!("{told}: {cause}"))
}

/// Who takes the spans.
#[derive(Debug)]
struct Collector {
    /// Its host and port, for the log.
    shown: String,
    client: reqwest::Client,
    runtime: Handle,
    /// Whether the last request failed: it is said once, and once that it is over.
    is_failing: AtomicBool,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let endpoint = &self.shown;
        let request = reqwest::Request::try_from(request)?;
        let client = self.client.clone();
        // The thread that calls has no runtime, and the client needs one from the beginning.
        let sending = async move { client.execute(request).await };
        let sent = self.runtime.spawn(sending).await?;
        let sent = sent.map_err(reqwest::Error::without_url);
        let failure = match &sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status())),
            Err(err) => Some(told(err)),
        };
        match failure {
            Some(error) if !self.is_failing.swap(true, Ordering::Relaxed) => warn!(
                endpoint,
                error, "spans cannot be exported; they are dropped until they can"
            ),
            None if self.is_failing.swap(false, Ordering::Relaxed) => {
                info!(endpoint, "spans are exported again");
            }
            _ => {}
        }
        let answer = sent?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        // What the collector says beside its status is of no use here.
        let mut told = Response::new(Bytes::new());
        *told.status_mut() = status;
        *told.headers_mut() = headers;
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_http_address_or_nothing() {
        for taken in ["", "http://127.0.0.1:4318", "http://collector/base/"] {
            assert_eq!(check_endpoint(taken), Ok(()), "{taken}");
        }
        for wrong in [
            "127.0.0.1:4318",
            "collector",
            "https://collector",
            "grpc://a",
            "http://user@collector",
            "http://:sesame@collector",
        ] {
            let said = check_endpoint(wrong).unwrap_err();
            assert!(!said.contains("sesame"), "{said}");
        }
    }

    #[test]
    fn the_log_names_host_and_port_only() {
        let address = "http://me:sesame@[::1]/path?key=sesame";
        assert_eq!(host_and_port(address), "[::1]:80");
        assert_eq!(
            host_and_port("http://collector:4318/v1/traces"),
            "collector:4318"
        );
    }
}
