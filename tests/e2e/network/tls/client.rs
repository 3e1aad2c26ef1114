//! A client that connects in one way, and says what it got.

use std::sync::Arc;

use bytes::Bytes;
use e2e::{
    authority::{Authority, Issued},
    event::Event,
    wait::holds,
};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode, Version,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How a client connects.
#[derive(Debug, Clone)]
pub struct Client(Arc<ClientConfig>);

/// What it got.
#[derive(Debug)]
pub struct Got {
    pub status: StatusCode,
    pub version: Version,
    pub headers: hyper::HeaderMap,
    pub body: String,
}

impl Client {
    /// One that speaks these versions and protocols, and may have a certificate.
    pub fn new(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
        own: Option<&Issued>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.pem().as_bytes());
        roots.add(root.unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes());
                let certificates = vec![certificate.unwrap()];
                builder
                    .with_client_auth_cert(certificates, key.unwrap())
                    .unwrap()
            }
        };
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        config.alpn_protocols = protocols.collect();
        Self(Arc::new(config))
    }

    /// One with this certificate that speaks HTTP/1.1.
    pub fn with(authority: &Authority, own: Option<&Issued>) -> Self {
        Self::new(authority, rustls::ALL_VERSIONS, &["http/1.1"], own)
    }

    /// A new connection to an address.
    pub async fn connect(&self, address: &str) -> Result<TlsStream<TcpStream>, String> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|err| err.to_string())?;
        let name = ServerName::try_from("localhost").unwrap();
        let connected = TlsConnector::from(Arc::clone(&self.0)).connect(name, stream);
        connected.await.map_err(|err| err.to_string())
    }

    /// The response to GET over a new connection, by the protocol that was agreed on.
    pub async fn get(&self, address: &str, path: &str) -> Result<Got, String> {
        let mut open = self.open(address).await?;
        open.get(path).await
    }

    /// A new connection for several requests.
    pub async fn open(&self, address: &str) -> Result<Open, String> {
        let stream = self.connect(address).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let stream = TokioIo::new(stream);
        let address = address.to_owned();
        let text = |err: hyper::Error| format!("{err:?}");
        if is_http2 {
            let connected = http2::handshake(TokioExecutor::new(), stream).await;
            let (sender, connection) = connected.map_err(text)?;
            tokio::spawn(connection);
            return Ok(Open::Http2(sender, address));
        }
        let (sender, connection) = http1::handshake(stream).await.map_err(text)?;
        tokio::spawn(connection);
        Ok(Open::Http1(sender, address))
    }
}

/// An open connection.
pub enum Open {
    Http1(http1::SendRequest<Full<Bytes>>, String),
    Http2(http2::SendRequest<Full<Bytes>>, String),
}

impl Open {
    pub async fn get(&mut self, path: &str) -> Result<Got, String> {
        let request = match self {
            Self::Http1(_, address) => Request::get(path).header("host", address.as_str()),
            Self::Http2(_, address) => Request::get(format!("https://{address}{path}")),
        };
        self.send(request.body(Full::default()).unwrap()).await
    }

    /// Publishes an event, which must be accepted.
    pub async fn publish(&mut self, address: &str, event: &Event) -> Result<(), String> {
        let request = match self {
            Self::Http1(..) => Request::post("/publish").header("host", address),
            Self::Http2(..) => Request::post(format!("https://{address}/publish")),
        };
        let request = request.header("content-type", "application/json");
        let body = Full::from(event.json());
        let got = self.send(request.body(body).unwrap()).await?;
        holds(got.status == 200, &got.body)
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Got, String> {
        let text = |err: hyper::Error| format!("{err:?}");
        let answer = match self {
            Self::Http1(sender, _) => {
                sender.ready().await.map_err(text)?;
                sender.send_request(request).await
            }
            Self::Http2(sender, _) => {
                sender.ready().await.map_err(text)?;
                sender.send_request(request).await
            }
        };
        let (head, body) = answer.map_err(text)?.into_parts();
        let body = body.collect().await.map_err(text)?.to_bytes();
        Ok(Got {
            status: head.status,
            version: head.version,
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        })
    }
}
