//! Encrypted connections to other services: which certificates are trusted, and what to do about one that is not.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Why no connection can be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read, or is not PEM.
    #[error("cannot read certificates from {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file has no certificates.
    #[error("{} has no certificate in PEM", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The system trusts nobody.
    #[error(
        "this system has no trusted certificates; install them (Debian, Ubuntu: ca-certificates), or name a file with them"
    )]
    NoRoots,
}

/// The settings of connections to a server whose certificate is of an authority in the file, or of one that the system trusts if
/// there is none. TLS 1.2 and 1.3.
///
/// # Errors
/// [`TlsError`].
///
/// # Panics
/// Never: the provider has suites for both versions.
pub fn client(ca: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let roots = match ca {
        Some(path) => roots_in(path)?,
        None => roots_of_the_system()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions");
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn roots_in(path: &Path) -> Result<RootCertStore, TlsError> {
    let unreadable = |reason: String| TlsError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read(path).map_err(|err| unreadable(err.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|err| unreadable(err.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|err| unreadable(err.to_string()))?;
    }
    if roots.is_empty() {
        return Err(TlsError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(roots)
}

fn roots_of_the_system() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // Some systems have certificates that cannot be used.
    let found = rustls_native_certs::load_native_certs().certs;
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(roots)
}

/// What to do about an error of a connection, if it is about encryption; `flag` names the file of trusted certificates.
#[must_use]
pub fn advice(err: &(dyn Error + 'static), flag: &str) -> Option<String> {
    let err = rustls_error(err)?;
    let rustls::Error::InvalidCertificate(wrong) = err else {
        return match err {
            rustls::Error::InvalidMessage(_) => {
                Some("the port does not speak TLS; use an http:// address".to_owned())
            }
            _ => None,
        };
    };
    Some(match wrong {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "its certificate is of an authority that is not trusted: {flag} must name a file with that authority's certificate, in PEM"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is of another name: use a name of the certificate in the address"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: renew it, and check the clock of this machine".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: check the clock of this machine".to_owned()
        }
        _ => format!("its certificate cannot be trusted; {flag} names whom to trust"),
    })
}

/// The error of TLS among the causes. An error of input and output that wraps another one leaves it out of its own causes.
fn rustls_error<'a>(err: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut causes = std::iter::successors(Some(err), |&cause| {
        let wrapped = cause.downcast_ref().and_then(io::Error::get_ref);
        match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => cause.source(),
        }
    });
    causes.find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_certificate_says_what_to_do() {
        let of = |wrong| {
            let err = rustls::Error::InvalidCertificate(wrong);
            advice(&io::Error::other(io::Error::other(err)), "--ca").unwrap()
        };
        assert!(of(CertificateError::UnknownIssuer).contains("--ca"));
        assert!(of(CertificateError::NotValidForName).contains("another name"));
        assert!(of(CertificateError::Expired).contains("expired"));
        assert_eq!(advice(&io::Error::other("else"), "--ca"), None);
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let missing = client(Some(Path::new("/nowhere/ca.pem"))).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/ca.pem"), "{missing}");
        let empty = client(Some(Path::new("/dev/null"))).unwrap_err();
        assert!(matches!(empty, TlsError::Empty { .. }), "{empty}");
    }
}
