//! The certificates of a connection with TLS. The client reads the files at each connect, so that they can be replaced while the
//! program runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use async_nats::{
    ConnectOptions,
    rustls::{
        RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use super::login::wrong;
use crate::command_line::failure;

const CA: &str = "--nats-ca";
const CERT: &str = "--nats-cert";
const KEY: &str = "--nats-key";

/// Whom the client trusts, and what it presents to the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tls {
    /// The authorities that are trusted instead of those of the system.
    ca: Option<PathBuf>,
    /// The client's certificate and its key.
    identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// # Errors
    /// If there is a certificate without a key, or a key without a certificate.
    pub fn new(
        ca: Option<PathBuf>,
        cert: Option<PathBuf>,
        key: Option<PathBuf>,
    ) -> Result<Self, String> {
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => {
                return Err(format!("{CERT} also needs {KEY}, the certificate's key"));
            }
            (None, Some(_)) => {
                return Err(format!("{KEY} also needs {CERT}, the key's certificate"));
            }
        };
        Ok(Self { ca, identity })
    }

    /// Whether any of it is given: then every server must speak TLS, or the certificates would not be checked.
    pub fn is_given(&self) -> bool {
        *self != Self::default()
    }

    /// The file with the key, and its flag.
    pub fn key(&self) -> Option<(&'static str, &Path)> {
        let (_, key) = self.identity.as_ref()?;
        Some((KEY, key))
    }

    pub fn apply(&self, mut options: ConnectOptions) -> ConnectOptions {
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((cert, key)) = &self.identity {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        options
    }

    /// Reads the files.
    ///
    /// # Errors
    /// A human-readable message that names the flag and its file, without any of its content.
    pub fn check(&self) -> Result<(), String> {
        if let Some(ca) = &self.ca {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(CA, ca)? {
                let added = roots.add(certificate);
                added
                    .map_err(|err| wrong(CA, ca, &format!("a certificate is not valid: {err}")))?;
            }
        }
        if let Some((cert, key)) = &self.identity {
            certificates(CERT, cert)?;
            let pem = read(KEY, key)?;
            // The error may repeat what it could not read.
            PrivateKeyDer::from_pem_slice(&pem)
                .map_err(|_| wrong(KEY, key, "it contains no private key in PEM"))?;
        }
        Ok(())
    }
}

fn certificates(flag: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(flag, file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| wrong(flag, file, "it contains no certificate in PEM"))
}

fn read(flag: &str, file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file)
        .map_err(|err| wrong(flag, file, &format!("it cannot be read: {}", failure(&err))))
}
