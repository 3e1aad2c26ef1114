//! The aggregator on this host, for commands that read its settings and not an address.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{
        CryptoProvider, ring::default_provider, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use super::reachable;

/// Where an aggregator on this host listens.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its address.
    pub listen: SocketAddr,
    /// Its certificate, if it speaks HTTPS.
    pub tls_cert: Option<PathBuf>,
}

impl Service {
    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.tls_cert.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}/{path}", reachable(self.listen))
    }

    /// A client for requests to it, each of which must be answered within this time. With `is_checked`, its certificate must be
    /// the one in the file, whatever names it has.
    ///
    /// # Errors
    /// If the file cannot be used, or the client cannot be created on this system.
    pub fn client(&self, timeout: Duration, is_checked: bool) -> anyhow::Result<reqwest::Client> {
        let client = reqwest::Client::builder()
            .timeout(timeout)
            // A proxy from the environment cannot reach this host.
            .no_proxy();
        let client = match &self.tls_cert {
            None => client,
            Some(file) => {
                let expected = is_checked.then(|| {
                    CertificateDer::from_pem_file(file).map_err(|err| {
                        anyhow!("cannot read a certificate from {}: {err}", file.display())
                    })
                });
                client.use_preconfigured_tls(config(expected.transpose()?)?)
            }
        };
        client.build().context("cannot create an HTTP client")
    }
}

fn config(expected: Option<CertificateDer<'static>>) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(default_provider());
    let verifier = OwnCertificate {
        expected,
        provider: Arc::clone(&provider),
    };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Accepts one certificate, or any, of a server that has its private key.
#[derive(Debug)]
struct OwnCertificate {
    expected: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OwnCertificate {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.expected {
            Some(expected) if expected != shown => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
