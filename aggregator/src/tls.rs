//! The certificate by which the service shows who it is, and the authorities whose client certificates it trusts.
//!
//! [`Tls`] is shared by the server, which takes the current configuration for each connection, and the task that rereads the
//! files. Nothing here knows HTTP.

mod files;

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use shared::secret_file;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::files::Files;
use self::files::Pem;
use crate::{
    access::Certificate,
    clock,
    health::{Health, Notice},
    reread,
};

/// The flag with the private key.
pub const TLS_KEY: &str = "--tls-key";

/// The protocols over TLS, the preferred one first (<https://www.iana.org/assignments/tls-extensiontype-values>).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The TLS of a service. Cheap to clone; clones share one state.
#[derive(Debug, Clone)]
pub struct Tls(Arc<State>);

#[derive(Debug)]
struct State {
    files: Files,
    /// What was read at the start.
    first: Pem,
    current: watch::Sender<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong, with the file.
    pub fn read(files: Files) -> Result<Self, String> {
        let first = files.read()?;
        let config = config(&files, &first)?;
        Ok(Self(Arc::new(State {
            files,
            first,
            current: watch::Sender::new(Arc::new(config)),
        })))
    }

    /// What accepts the next connection. Connections that are open keep the certificate that they began with.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.current.borrow()))
    }

    /// Replaces the certificate when the files have changed. If they cannot be used, it stays as it is, and the log and `/health`
    /// say so.
    ///
    /// # Errors
    /// If SIGHUP cannot be handled.
    pub async fn keep_reading(
        self,
        health: Health,
        token: CancellationToken,
    ) -> anyhow::Result<()> {
        let first = Some(Ok(self.0.first.clone()));
        let files = self.0.files.clone();
        let read = move || files.read();
        let take = move |pem: Result<Pem, String>| {
            let State { files, current, .. } = &*self.0;
            let notice = match pem.and_then(|pem| config(files, &pem)) {
                Ok(config) => {
                    current.send_replace(Arc::new(config));
                    if let Some(warning) = secret_file::warning(TLS_KEY, &files.key) {
                        warn!("{warning}");
                    }
                    None
                }
                Err(reason) => Some(format!(
                    "{reason}; the certificate that was read before stays in use"
                )),
            };
            health.notices(Notice::Tls, notice);
        };
        reread::keep_reading("the certificate", first, read, take, token).await
    }
}

/// TLS 1.2 and 1.3, with the suites of rustls: all have forward secrecy and authenticated encryption.
fn config(files: &Files, pem: &Pem) -> Result<ServerConfig, String> {
    let provider = Arc::new(default_provider());
    let certificates = certificates(&pem.certificate)
        .map_err(|wrong| format!("{} {wrong}", files.certificate.display()))?;
    let key = PrivateKeyDer::from_pem_slice(&pem.key)
        .map_err(|_| format!("{} has no private key in PEM", files.key.display()))?;
    let ends = Certificate::parse(&certificates[0]).map(|own| clock::rfc3339(own.expires));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|err| err.to_string())?;
    let builder = match (&files.client_ca, &pem.client_ca) {
        (Some(path), Some(authorities)) => {
            let roots =
                roots(authorities).map_err(|wrong| format!("{} {wrong}", path.display()))?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|err| format!("{}: {err}", path.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|err| {
        format!(
            "{} and {} do not belong together: {err}",
            files.certificate.display(),
            files.key.display()
        )
    })?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    info!(expires = ends, "read the certificate");
    Ok(config)
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(pem)? {
        let added = roots.add(authority);
        added.map_err(|err| format!("has a certificate of no authority: {err}"))?;
    }
    Ok(roots)
}

/// The certificates in PEM, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|err| format!("is not PEM: {err}"))?;
    if found.is_empty() {
        return Err("has no certificate in PEM".to_owned());
    }
    Ok(found)
}
