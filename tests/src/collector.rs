//! A receiver of spans over OTLP/HTTP, like a collector.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
};

use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{ResourceSpans, Span as Sent},
};
use prost::Message;
use rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::authority::Issued;

/// A collector on a free port. It ends when this is dropped.
#[derive(Debug)]
pub struct Collector {
    url: String,
    spans: Spans,
    task: JoinHandle<()>,
}

type Spans = Arc<Mutex<Vec<Span>>>;

/// An exported span. Ids are in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The service that exported it.
    pub service: String,
    /// The name of the operation.
    pub name: String,
    /// The id of its trace.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The id of its parent; empty for a root span.
    pub parent: String,
    /// The spans that it is linked to.
    pub links: Vec<String>,
    /// Its attributes as text.
    pub attributes: BTreeMap<String, String>,
}

impl Collector {
    /// Starts one.
    pub async fn start() -> Self {
        Self::with(None).await
    }

    /// Starts one with this certificate.
    pub async fn encrypted(own: &Issued) -> Self {
        let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for all versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.expect("a certificate")],
                key.expect("a key"),
            );
        let config = config.expect("they belong together");
        Self::with(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn with(tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let spans = Spans::default();
        let task = tokio::spawn(serve(listener, tls, Arc::clone(&spans)));
        Self {
            url: format!("{scheme}://{address}"),
            spans,
            task,
        }
    }

    /// The endpoint for `--otlp-endpoint`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All spans received so far.
    pub fn spans(&self) -> Vec<Span> {
        let spans = self.spans.lock();
        spans.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The spans with this name.
    pub fn named(&self, name: &str) -> Vec<Span> {
        let mut spans = self.spans();
        spans.retain(|span| span.name == name);
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, spans: Spans) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, spans) = (tls.clone(), Arc::clone(&spans));
        tokio::spawn(async move {
            match tls {
                None => answer(stream, spans).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, spans).await;
                    }
                }
            }
        });
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, spans: Spans) {
    let service = service_fn(|request| take(request, Arc::clone(&spans)));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // Ends when the exporting service ends, in whatever way.
    let _ = connection.await;
}

async fn take(
    request: Request<Incoming>,
    spans: Spans,
) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    assert_eq!(request.uri().path(), "/v1/traces");
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    if let Ok(body) = request.into_body().collect().await {
        let sent = ExportTraceServiceRequest::decode(body.to_bytes()).expect("it is Protobuf");
        let mut spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.extend(sent.resource_spans.into_iter().flat_map(of_resource));
    }
    Ok(Response::default())
}

fn of_resource(sent: ResourceSpans) -> impl Iterator<Item = Span> {
    let resource = sent.resource.expect("a resource");
    let mut attributes = texts(resource.attributes);
    let service = attributes.remove("service.name").expect("its name");
    let spans = sent.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans.map(move |span| parse_span(service.clone(), span))
}

fn parse_span(service: String, span: Sent) -> Span {
    Span {
        service,
        name: span.name,
        trace: hexadecimal(&span.trace_id),
        id: hexadecimal(&span.span_id),
        parent: hexadecimal(&span.parent_span_id),
        links: span
            .links
            .iter()
            .map(|link| hexadecimal(&link.span_id))
            .collect(),
        attributes: texts(span.attributes),
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: KeyValue| {
        let value = match attribute.value?.value? {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        Some((attribute.key, value))
    };
    attributes.into_iter().filter_map(text).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
