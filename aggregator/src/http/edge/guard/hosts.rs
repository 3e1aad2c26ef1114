//! The allowed host names, and the hosts that requests name.

use std::{net::IpAddr, sync::Arc};

use axum::http::uri::Authority;

/// The allowed host names, in addition to `localhost` and all IP addresses.
///
/// This defends against DNS rebinding: a site that points its own name at this machine, to be same-origin with the service,
/// is refused. It cannot do that with an IP address, so these are always allowed.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Arc<[Name]>);

impl Hosts {
    /// Allows these names in addition. Their ports are ignored.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        let names = names.iter().filter_map(|name| HostPort::parse(name.trim()));
        Self(names.map(|host| host.name).collect())
    }

    /// Whether this name is allowed.
    pub(super) fn has(&self, name: &Name) -> bool {
        match name {
            Name::Address(_) => true,
            Name::Domain(domain) => domain == "localhost" || self.0.contains(name),
        }
    }
}

/// The name of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    Address(IpAddr),
    /// In lower case, without the trailing dot of a rooted name: `name.` is `name`.
    Domain(String),
}

impl Name {
    fn parse(host: &str) -> Option<Self> {
        let host = host.strip_suffix('.').unwrap_or(host);
        if let Some(address) = host.strip_prefix('[') {
            let address = address.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(IpAddr::V6(address)));
        }
        if let Ok(address) = host.parse() {
            return Some(Self::Address(IpAddr::V4(address)));
        }
        (!host.is_empty()).then(|| Self::Domain(host.to_ascii_lowercase()))
    }
}

/// A name with a port, as in `Host` (RFC 9110, 7.2) and in `Origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    pub name: Name,
    /// `None` for the default port of the scheme, which `Host` does not carry.
    port: Option<u16>,
}

impl HostPort {
    /// `None` if the text is not a host with an optional port.
    pub fn parse(text: &str) -> Option<Self> {
        let authority = Authority::try_from(text).ok()?;
        let (host, rest) = (authority.host(), authority.as_str());
        // Neither header may have a user.
        let port = match rest.strip_prefix(host)? {
            "" | ":" => None,
            port => Some(port.strip_prefix(':')?.parse().ok()?),
        };
        let name = Name::parse(host)?;
        Some(Self { name, port })
    }

    /// Whether this origin is on this host and port (RFC 6454, 5); a missing port is the default of the origin's scheme. On an
    /// encrypted connection it is of https; otherwise a proxy may have decrypted the request.
    pub fn is_of_origin(&self, origin: &str, is_encrypted: bool) -> bool {
        let (rest, default) = match origin.split_once("://") {
            Some(("http", rest)) if !is_encrypted => (rest, 80),
            Some(("https", rest)) => (rest, 443),
            _ => return false,
        };
        Self::parse(rest).is_some_and(|origin| {
            origin.name == self.name
                && origin.port.unwrap_or(default) == self.port.unwrap_or(default)
        })
    }
}
