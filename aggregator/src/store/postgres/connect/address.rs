//! The address of a database.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use shared::tls::{self, TlsError};
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

use super::{
    PATIENCE,
    passfile::{Passfile, PassfileError},
};
use crate::store::postgres::error::DatabaseError;

/// The address of a database, with everything that a connection needs.
#[derive(Clone)]
pub struct Address {
    pub(super) config: Config,
    /// Whether connections are encrypted. The server's certificate is always checked then.
    pub(super) is_encrypted: bool,
    pub(super) root_certificates: Option<PathBuf>,
    pub(super) passfile: Option<Passfile>,
    shown: String,
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is not one.
    #[error(
        "is not the address of a database: {0}; expected postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full"
    )]
    Invalid(String),
    /// No encryption to another machine, though it was not asked for.
    #[error(
        "names a database on another machine; add ?sslmode=verify-full to encrypt its connections, or ?sslmode=disable if the network is trusted"
    )]
    Undecided,
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The file of the password cannot be used.
    #[error(transparent)]
    Passfile(#[from] PassfileError),
}

impl Address {
    /// Checks that the file of the password, if the address names one, has the password. It is read again at each connect.
    ///
    /// # Errors
    /// If it cannot be read, or has no line for this address.
    pub fn check_passfile(&self) -> Result<(), AddressError> {
        if let Some(passfile) = &self.passfile {
            passfile.password(&self.config)?;
        }
        Ok(())
    }

    /// The file of the password, if the address names one.
    pub fn passfile(&self) -> Option<&Path> {
        self.passfile.as_ref().map(Passfile::path)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Understands `postgres://` URLs with one or several hosts. `sslmode` is `disable`, or `verify-full`; `require` and `verify-ca`
    /// are read as `verify-full`. `sslrootcert` names a file with trusted authorities, `passfile` one with the password.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let invalid = |reason: &str| AddressError::Invalid(reason.to_owned());
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(invalid("it does not begin with postgres://"));
        }
        // The client would end the password at the first one, and show the rest as a host.
        if text.matches('@').count() > 1 {
            return Err(invalid(
                "it has more than one @; write an @ in the user, the password or another part as %40",
            ));
        }
        let (url, query) = text.split_once('?').unwrap_or((text, ""));
        let path = |name: &str, value: &str| {
            let path = percent_encoding::percent_decode_str(value).decode_utf8();
            let path = path.map_err(|_| invalid(&format!("{name} is not UTF-8")))?;
            Ok::<_, AddressError>(PathBuf::from(path.as_ref()))
        };
        let (mut mode, mut kept) = (None, Vec::new());
        let (mut root_certificates, mut passfile) = (None, None);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some((name @ "sslrootcert", value)) => root_certificates = Some(path(name, value)?),
                Some((name @ "passfile", value)) => passfile = Some(path(name, value)?),
                _ => kept.push(parameter),
            }
        }
        let mut config: Config = format!("{url}?{}", kept.join("&"))
            .parse()
            .map_err(|err: tokio_postgres::Error| invalid(&DatabaseError::from(err).to_string()))?;
        if config.get_hosts().is_empty() {
            return Err(invalid("it has no host"));
        }
        if config.get_dbname().is_none() {
            return Err(invalid("it has no database"));
        }
        if passfile.is_some() && config.get_user().is_none() {
            return Err(invalid("it has a passfile and no user"));
        }
        if passfile.is_some() && config.get_password().is_some() {
            return Err(invalid("it has a password and a passfile"));
        }
        let is_encrypted = match mode {
            Some("disable") => false,
            Some("require" | "verify-ca" | "verify-full") => true,
            Some(_) => return Err(invalid("sslmode is disable or verify-full")),
            None if config.get_hosts().iter().all(is_local) => false,
            None => return Err(AddressError::Undecided),
        };
        config
            .ssl_mode(if is_encrypted {
                SslMode::Require
            } else {
                SslMode::Disable
            })
            // A standby that is named too is passed over.
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .application_name("aggregator")
            .connect_timeout(PATIENCE)
            .tcp_user_timeout(PATIENCE)
            .keepalives_idle(PATIENCE);
        let address = Self {
            shown: shown(&config),
            config,
            is_encrypted,
            root_certificates,
            passfile: passfile.map(Passfile::new),
        };
        if is_encrypted {
            tls::client(address.root_certificates.as_deref())?;
        }
        Ok(address)
    }
}

/// Whether a host is this machine.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            let ip = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            name == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

/// Hosts and database, without the user and the password.
fn shown(config: &Config) -> String {
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let hosts = config.get_hosts().iter().enumerate();
    let hosts = hosts.map(|(index, host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(index)),
        Host::Unix(path) => path.display().to_string(),
    });
    let hosts: Vec<_> = hosts.collect();
    format!(
        "postgres://{}/{}",
        hosts.join(","),
        config.get_dbname().unwrap_or("")
    )
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Without the password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, AddressError> {
        text.parse()
    }

    #[test]
    fn an_address_is_shown_without_user_and_password() {
        let address = parse("postgres://u:p%40ss@a,b:7000/events?sslmode=disable").unwrap();
        assert_eq!(address.to_string(), "postgres://a:5432,b:7000/events");
        assert!(!format!("{address:?}").contains("p@ss"));
    }

    #[test]
    fn a_password_with_an_at_sign_is_not_shown_as_a_host() {
        for text in [
            "postgres://u:p@ss@db/e?sslmode=disable",
            "postgres://u:p@s/s@db/e?sslmode=disable",
            "postgres://u:p@s/s?s@db/e=",
        ] {
            let err = parse(text).unwrap_err().to_string();
            assert!(err.contains("%40"), "{err}");
            assert!(!err.contains("@db"), "{err}");
        }
    }

    #[test]
    fn connections_to_another_machine_are_encrypted_or_the_address_says_that_they_are_not() {
        for local in ["localhost", "127.0.0.1", "%2Frun%2Fpostgresql"] {
            assert!(
                !parse(&format!("postgres://{local}/d"))
                    .unwrap()
                    .is_encrypted
            );
        }
        assert!(matches!(
            parse("postgres://db/d"),
            Err(AddressError::Undecided)
        ));
        assert!(parse("postgres://db/d?sslmode=prefer").is_err());
        assert!(
            !parse("postgres://db/d?sslmode=disable")
                .unwrap()
                .is_encrypted
        );
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for text in [
            "./data",
            "postgres://",
            "postgres://h",
            "mysql://h/d",
            "postgres://h/d?sslmode=disable&nonsense=1",
            "postgres://h/d?sslmode=disable&passfile=/f",
            "postgres://u:p@h/d?sslmode=disable&passfile=/f",
        ] {
            let err = parse(text).unwrap_err().to_string();
            assert!(err.contains("postgres://USER"), "{text}: {err}");
        }
    }
}
