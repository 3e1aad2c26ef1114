//! The addresses of a broker as given in settings, and the credentials in them.

#[cfg(test)]
mod tests;

use std::{fmt, path::Path, str::FromStr};

use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;

use super::{
    flags::Files,
    login::{ADVICE, CREDS, Login, NKEY, PASSWORD_FILE},
    tls::Tls,
};

/// The servers of one broker, and the credentials and certificates for them. Neither `Debug` nor `Display` reveals the
/// credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Servers {
    /// Without credentials, because the client logs its addresses.
    addresses: Vec<ServerAddr>,
    login: Option<Login>,
    tls: Tls,
}

/// Example addresses for error messages.
const EXAMPLE: &str = "nats://127.0.0.1:4222 or tls://USER:PASSWORD@HOST";

impl Servers {
    /// Parses addresses such as `nats://127.0.0.1:4222`, `nats://USER:PASSWORD@HOST`, `nats://TOKEN@HOST` or
    /// `tls://HOST`; each string may contain several, separated by commas.
    ///
    /// The client uses the same credentials for every server, including those that the broker announces later.
    /// Addresses without credentials therefore use those of the others, and different credentials are refused.
    /// Likewise, a single `tls://` address requires TLS of every server.
    ///
    /// # Errors
    /// A human-readable message that contains no part of an address except possibly its scheme.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, String> {
        let texts = texts.iter().flat_map(|text| text.as_ref().split(','));
        let mut addresses = Vec::new();
        let mut login: Option<Login> = None;
        let mut seen_bare_url = false;
        for text in texts.map(str::trim).filter(|text| !text.is_empty()) {
            let (address, found) = read(text)?;
            let has_scheme = text.contains("://");
            if found.is_some() && !has_scheme && seen_bare_url {
                return Err(
                    "an address with credentials but without nats:// or tls:// follows an address without credentials: write a comma in a user, password or token as %2C, or give every address a scheme"
                        .to_owned(),
                );
            }
            seen_bare_url |= has_scheme && found.is_none();
            match (&login, found) {
                (_, None) => {}
                (None, found) => login = found,
                (Some(known), Some(found)) if *known == found => {}
                _ => {
                    return Err(
                        "the addresses have different credentials; all servers of the broker must use the same ones"
                            .to_owned(),
                    );
                }
            }
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(format!("a NATS address is required, for example {EXAMPLE}"));
        }
        Ok(Self {
            addresses,
            login,
            tls: Tls::default(),
        })
    }

    /// Parses addresses as [`Self::parse`], with the credentials and certificates in these files.
    ///
    /// # Errors
    /// A human-readable message that begins with the flag and contains no credentials. Files are not read, see
    /// [`Self::check_files`].
    pub fn with_files<T: AsRef<str>>(texts: &[T], files: &Files) -> Result<Self, String> {
        let servers = Self::parse(texts).map_err(|err| format!("--nats-url: {err}"))?;
        let Files {
            password,
            creds,
            nkey,
            ca,
            cert,
            key,
        } = files.clone();
        let given = [
            (PASSWORD_FILE, password.is_some()),
            (CREDS, creds.is_some()),
            (NKEY, nkey.is_some()),
        ];
        let given: Vec<_> = given.iter().filter(|(_, given)| *given).collect();
        if let [(first, _), (second, _), ..] = given[..] {
            return Err(format!("{first} and {second} exclude each other"));
        }
        let login = match (password, creds, nkey) {
            (Some(file), ..) => {
                let user = match servers.login {
                    None => None,
                    // A lone name before the host.
                    Some(Login::Token(user)) => Some(user),
                    _ => return Err(conflict(PASSWORD_FILE, "a password")),
                };
                Some(Login::InFile { user, file })
            }
            (_, Some(_), _) if servers.login.is_some() => {
                return Err(conflict(CREDS, "credentials"));
            }
            (.., Some(_)) if servers.login.is_some() => return Err(conflict(NKEY, "credentials")),
            (_, Some(file), _) => Some(Login::Creds(file)),
            (.., Some(file)) => Some(Login::Nkey(file)),
            (None, None, None) => servers.login,
        };
        Ok(Self {
            addresses: servers.addresses,
            login,
            tls: Tls::new(ca, cert, key)?,
        })
    }

    /// Reads the files with credentials and certificates, so that a mistake is found at the start. They are read again at each
    /// connect.
    ///
    /// # Errors
    /// A human-readable message that names the flag and its file, and contains no credentials.
    pub fn check_files(&self) -> Result<(), String> {
        if let Some(login) = &self.login {
            login.prove(b"")?;
        }
        self.tls.check()
    }

    /// The files with secrets, each with its flag.
    #[must_use]
    pub fn secret_files(&self) -> Vec<(&'static str, &Path)> {
        let login = self.login.as_ref().and_then(Login::file);
        login.into_iter().chain(self.tls.key()).collect()
    }

    pub(super) fn addresses(&self) -> Vec<ServerAddr> {
        self.addresses.clone()
    }

    /// Options with the credentials, and with TLS if it is required.
    pub(super) fn options(&self) -> ConnectOptions {
        let options = self
            .login
            .as_ref()
            .map_or_else(ConnectOptions::new, Login::options);
        let is_required =
            self.tls.is_given() || self.addresses.iter().any(ServerAddr::tls_required);
        self.tls.apply(options).require_tls(is_required)
    }

    /// The error text for a broker that refuses the login, with the remedy.
    pub(super) fn advice_on_login(&self) -> &'static str {
        self.login.as_ref().map_or(ADVICE, Login::advice)
    }
}

fn conflict(flag: &str, what: &str) -> String {
    format!("{flag} and {what} in --nats-url exclude each other")
}

/// Parses one address and separates the credentials from it.
fn read(text: &str) -> Result<(ServerAddr, Option<Login>), String> {
    let unusable = |why: &dyn fmt::Display| {
        format!("not a NATS address ({why}); expected an address such as {EXAMPLE}")
    };
    let address: ServerAddr = text.parse().map_err(|err| unusable(&err))?;
    if !["nats", "tls"].contains(&address.scheme()) {
        return Err(unusable(&"the scheme must be nats or tls"));
    }
    let mut url = address.into_inner();
    if url.host_str().unwrap_or_default().is_empty() {
        return Err(unusable(&"the host is missing"));
    }
    // Most likely the rest of a password or token with an unencoded / ? or #. What precedes it was parsed as the host
    // and port, which are logged.
    if !["", "/"].contains(&url.path()) || url.query().is_some() || url.fragment().is_some() {
        return Err(unusable(
            &"nothing may follow the port; / ? # in a password must be percent-encoded",
        ));
    }
    let decoded = |part: &str| {
        let text = percent_decode_str(part).decode_utf8();
        text.map(String::from)
            .map_err(|_| unusable(&"user, password or token is not UTF-8 when percent-decoded"))
    };
    let login = match (decoded(url.username())?, url.password()) {
        (user, None) if user.is_empty() => None,
        (token, None) => Some(Login::Token(token)),
        (user, Some(_)) if user.is_empty() => {
            return Err(unusable(&"a password without a user"));
        }
        (user, Some(password)) => Some(Login::Password {
            user,
            password: decoded(password)?,
        }),
    };
    let stripped = url.set_password(None).and_then(|()| url.set_username(""));
    stripped.map_err(|()| unusable(&"it cannot hold credentials"))?;
    let address = ServerAddr::from_url(url).map_err(|err| unusable(&err))?;
    Ok((address, login))
}

impl FromStr for Servers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(&[text])
    }
}

/// Writes the hosts and ports.
impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, address) in self.addresses.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{}", HostPort(address))?;
        }
        Ok(())
    }
}

/// Displays the host and port of an address.
pub(super) struct HostPort<'a>(pub &'a ServerAddr);

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.0.host(), self.0.port());
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Servers({self})")
    }
}
