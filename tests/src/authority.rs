//! An authority that signs certificates for a test.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

/// The names and addresses of a service on this machine.
pub const LOCAL: [&str; 2] = ["127.0.0.1", "localhost"];

/// An authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, both in PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key();
        // No other authority has this name.
        let name = format!("authority {:x?}", &key.public_key_raw()[1..9]);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate can be made"))
    }
}

impl Authority {
    /// Its own certificate in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a service with these names.
    pub fn service(&self, names: &[&str]) -> Issued {
        self.issue(names, "service", true)
    }

    /// A certificate for the client `CN=NAME,O=Example`.
    pub fn client(&self, name: &str) -> Issued {
        self.issue(&[], name, true)
    }

    /// The same, which has expired.
    pub fn expired(&self, names: &[&str], name: &str) -> Issued {
        self.issue(names, name, false)
    }

    fn issue(&self, names: &[&str], name: &str, is_valid: bool) -> Issued {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are valid");
        params.distinguished_name = rcgen::DistinguishedName::new();
        let subject = &mut params.distinguished_name;
        subject.push(DnType::OrganizationName, "Example");
        subject.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        if !is_valid {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = key();
        let certificate = params.signed_by(&key, &self.0);
        Issued {
            certificate: certificate.expect("a certificate can be made").pem(),
            key: key.serialize_pem(),
        }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key can be made")
}

/// The files of a service with TLS, in a directory of a test.
#[derive(Debug)]
pub struct Files {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority of the certificate.
    pub ca: PathBuf,
}

impl Files {
    /// Writes them.
    pub fn new(directory: &Path, authority: &Authority) -> Self {
        let files = Self {
            certificate: directory.join("service.pem"),
            key: directory.join("service.key"),
            ca: directory.join("ca.pem"),
        };
        files.replace(&authority.service(&LOCAL));
        fs::write(&files.ca, authority.pem()).expect("a file can be written");
        files
    }

    /// Replaces the certificate and its key.
    pub fn replace(&self, issued: &Issued) {
        fs::write(&self.certificate, &issued.certificate).expect("a file can be written");
        fs::write(&self.key, &issued.key).expect("a file can be written");
    }

    /// The flags of a service with them.
    pub fn flags(&self) -> [&str; 4] {
        [
            "--tls-cert",
            text(&self.certificate),
            "--tls-key",
            text(&self.key),
        ]
    }
}

/// A path as a flag.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}
