//! The export of spans by OTLP over HTTP, in the background. Spans that cannot be sent are dropped, and the failure is
//! logged once.

use std::{
    path::PathBuf,
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

use crate::{
    tls::{self, TlsError},
    trace::Tracer,
};

/// The path appended to the endpoint (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).
const TRACES: &str = "v1/traces";

/// Default capacity of the queue of spans to be sent; further spans are dropped. The spans of all messages of a batch end at
/// the same time, and a few batches must fit.
const QUEUE: usize = 16_384;

/// The environment variable of OpenTelemetry that overrides [`QUEUE`].
const QUEUE_IN_ENVIRONMENT: &str = "OTEL_BSP_MAX_QUEUE_SIZE";

/// The environment variables of OpenTelemetry that name the authorities of the collector, the first that is set.
const CERTIFICATES: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
];

/// Timeout of one request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout for sending the last spans when the process ends.
const FLUSH: Duration = Duration::from_secs(1);

/// Why the export cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("spans cannot be exported: {0}")]
pub enum ExportError {
    /// The exporter refuses its settings, including those from the environment.
    Exporter(#[from] ExporterBuildError),
    /// The HTTP client cannot be created.
    Client(#[from] reqwest::Error),
    /// Nobody is trusted to sign the certificate of the collector.
    Tls(#[from] TlsError),
}

/// The export of spans, or nothing if it is disabled.
#[derive(Debug)]
pub struct Export(Option<(SdkTracerProvider, &'static str)>);

/// Checks an endpoint from the settings: `http://127.0.0.1:4318`, for example, or an empty text. It must not contain
/// secrets, because it is logged.
///
/// # Errors
/// A message that does not contain the endpoint itself.
pub fn check_endpoint(text: &str) -> Result<(), String> {
    const BEGINS: &str = "must begin with http:// or https://, as in http://127.0.0.1:4318";
    if text.is_empty() {
        return Ok(());
    }
    match reqwest::Url::parse(text) {
        Ok(url) if !["http", "https"].contains(&url.scheme()) || !url.has_host() => Err(BEGINS.to_owned()),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => Err(
            "must not contain a user or a password; set OTEL_EXPORTER_OTLP_HEADERS instead, as in authorization=…"
                .to_owned(),
        ),
        Ok(_) => Ok(()),
        Err(_) if !text.contains("://") => Err(BEGINS.to_owned()),
        Err(err) => Err(format!("not an address ({err}); expected an address such as http://127.0.0.1:4318")),
    }
}

impl Export {
    /// Exports the spans of a service to an endpoint accepted by [`check_endpoint`]; without one no spans are made. Spans are
    /// batched on a dedicated thread and sent on the runtime, which must outlive the export.
    ///
    /// # Errors
    /// [`ExportError`]; never because the collector is unreachable.
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
        let host_port = host_and_port(&endpoint);
        let collector = Collector {
            host_port: host_port.clone(),
            client: client(&endpoint)?,
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
        let mut config = BatchConfigBuilder::default();
        if std::env::var_os(QUEUE_IN_ENVIRONMENT).is_none() {
            config = config.with_max_queue_size(QUEUE);
        }
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(config.build())
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource)
            .build();
        info!(endpoint = host_port, "exporting spans");
        Ok(Self(Some((provider, service))))
    }

    /// A tracer whose spans are exported, or one that is off if the export is disabled.
    #[must_use]
    pub fn tracer(&self) -> Tracer {
        match &self.0 {
            Some((provider, service)) => Tracer::on(provider.tracer(*service)),
            None => Tracer::off(),
        }
    }

    /// Sends the queued spans, for at most one second. Blocks the calling thread, so the runtime must run on other threads.
    pub fn end(self) {
        if let Some((provider, _)) = self.0 {
            // A failure to send was logged by the collector.
            let _ = provider.shutdown_with_timeout(FLUSH);
        }
    }
}

/// A client for the collector. Its certificate must be of an authority in the file that the environment names, or of one that the
/// system trusts.
fn client(endpoint: &str) -> Result<reqwest::Client, ExportError> {
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
    if !endpoint.starts_with("https:") {
        return Ok(client.build()?);
    }
    let named = CERTIFICATES.iter().filter_map(std::env::var_os);
    let path = named
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .next();
    let tls = tls::client(path.as_deref())?;
    Ok(client.use_preconfigured_tls(tls).build()?)
}

/// The part of an address that is logged: the path and the query may contain a secret.
fn host_and_port(address: &str) -> String {
    let address = reqwest::Url::parse(address).ok();
    let host_port = address.and_then(|address| {
        let port = address.port_or_known_default()?;
        Some(format!("{}:{port}", address.host_str()?))
    });
    host_port.unwrap_or_default()
}

/// An error with its causes, on one line.
fn with_causes(err: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(err.source(), |cause| cause.source());
    causes.fold(err.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The collector that receives the spans.
#[derive(Debug)]
struct Collector {
    /// Host and port, for the log.
    host_port: String,
    client: reqwest::Client,
    runtime: Handle,
    /// Whether the last request failed: a failure and the recovery are logged once each.
    is_failing: AtomicBool,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let endpoint = &self.host_port;
        let request = reqwest::Request::try_from(request)?;
        let client = self.client.clone();
        // The calling thread has no runtime, which the client needs from the start.
        let sending = async move { client.execute(request).await };
        let sent = self.runtime.spawn(sending).await?;
        let sent = sent.map_err(reqwest::Error::without_url);
        let failure = match &sent {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("the collector responded {}", response.status())),
            Err(err) => {
                let advice = tls::advice(err, CERTIFICATES[1]);
                let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
                Some(format!("{}{advice}", with_causes(err)))
            }
        };
        match failure {
            Some(error) if !self.is_failing.swap(true, Ordering::Relaxed) => warn!(
                endpoint,
                error, "spans cannot be exported; dropping them until they can"
            ),
            None if self.is_failing.swap(false, Ordering::Relaxed) => {
                info!(endpoint, "spans are exported again");
            }
            _ => {}
        }
        let received = sent?;
        let (status, headers) = (received.status(), received.headers().clone());
        // The body of the collector's response is not needed.
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_http_address_or_nothing() {
        for accepted in ["", "http://127.0.0.1:4318", "https://collector/base/"] {
            assert_eq!(check_endpoint(accepted), Ok(()), "{accepted}");
        }
        for wrong in [
            "127.0.0.1:4318",
            "collector",
            "grpc://a",
            "http://user@collector",
            "http://:sesame@collector",
        ] {
            let message = check_endpoint(wrong).unwrap_err();
            assert!(!message.contains("sesame"), "{message}");
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
