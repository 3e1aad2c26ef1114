//! The names by which the service may be asked, and what requests call it.

use std::{net::IpAddr, sync::Arc};

use axum::http::uri::Authority;

/// The names by which the service may be asked, beside `localhost` and every IP address.
///
/// A site that makes its own name point to this machine, to be same-origin with the service (DNS rebinding), is none
/// of them; under an address that cannot be done.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Arc<[Name]>);

impl Hosts {
    /// With these names beside. A port that one names says nothing.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        let names = names.iter().filter_map(|name| Place::parse(name.trim()));
        Self(names.map(|place| place.name).collect())
    }

    /// Whether it may be asked by this name.
    pub(super) fn has(&self, name: &Name) -> bool {
        match name {
            Name::Address(_) => true,
            Name::Domain(domain) => domain == "localhost" || self.0.contains(name),
        }
    }
}

/// What a host is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    Address(IpAddr),
    /// In lower case, without the dot of a rooted name: `name.` is `name`.
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
pub struct Place {
    pub name: Name,
    /// None for the default one of a scheme, which `Host` does not tell.
    port: Option<u16>,
}

impl Place {
    /// None where it is no place.
    pub fn parse(text: &str) -> Option<Self> {
        let authority = Authority::try_from(text).ok()?;
        let (host, rest) = (authority.host(), authority.as_str());
        // There is no user in either header.
        let port = match rest.strip_prefix(host)? {
            "" | ":" => None,
            port => Some(port.strip_prefix(':')?.parse().ok()?),
        };
        let name = Name::parse(host)?;
        Some(Self { name, port })
    }

    /// Whether a page of this origin is one of this place (RFC 6454, 5): a port that is left out is the scheme's.
    pub fn is_of_origin(&self, origin: &str) -> bool {
        let (rest, default) = match origin.split_once("://") {
            Some(("http", rest)) => (rest, 80),
            Some(("https", rest)) => (rest, 443),
            _ => return false,
        };
        Self::parse(rest).is_some_and(|origin| {
            origin.name == self.name
                && origin.port.unwrap_or(default) == self.port.unwrap_or(default)
        })
    }
}
