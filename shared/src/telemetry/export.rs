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
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::trace::Tracer;

/// What is appended to the endpoint (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).
const TRACES: &str = "v1/traces";

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

/// Checks an endpoint as settings give it: `http://127.0.0.1:4318`, or nothing.
///
/// # Errors
/// A sentence for people where it is none.
pub fn parse_endpoint(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    match reqwest::Url::parse(text) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(text.to_owned()),
        Ok(_) => Err("is not an address that begins with http://".to_owned()),
        Err(err) => Err(format!(
            "is no address ({err}); one is http://127.0.0.1:4318"
        )),
    }
}

impl Export {
    /// Exports the spans of a service to an endpoint that [`parse_endpoint`] took; without one there are none. Spans are
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
        let collector = Collector {
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
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        info!(endpoint, "exporting spans");
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

/// An error with its causes, on one line.
fn told(err: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(err.source(), |cause| cause.source());
    causes.fold(err.to_string(), |told, cause| format!("{told}: {cause}"))
}

/// Who takes the spans.
#[derive(Debug)]
struct Collector {
    client: reqwest::Client,
    runtime: Handle,
    /// Whether the last request failed: it is said once, and once that it is over.
    is_failing: AtomicBool,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let endpoint = request.uri().to_string();
        let request = reqwest::Request::try_from(request)?;
        let client = self.client.clone();
        // The thread that calls has no runtime, and the client needs one from the beginning.
        let sending = async move { client.execute(request).await };
        let sent = self.runtime.spawn(sending).await?;
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
            assert_eq!(parse_endpoint(taken).as_deref(), Ok(taken));
        }
        for wrong in [
            "127.0.0.1:4318",
            "collector",
            "https://collector",
            "grpc://a",
        ] {
            assert!(parse_endpoint(wrong).is_err(), "{wrong}");
        }
    }
}
