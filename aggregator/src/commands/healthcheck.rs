//! `aggregator healthcheck`: queries the local `/health`, for a container's health check.

mod local;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use shared::api::describe;

pub use self::local::Service;

/// Shorter than the timeout of a container's health check.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Checks the aggregator on this host. Its certificate is not checked: nothing secret is sent, and a check that fails while the
/// certificate is being replaced, or has expired, would restart a service that works.
///
/// # Errors
/// If it does not respond, or if it is not healthy; then the error is the response body, which has the reasons.
pub async fn healthcheck(service: &Service) -> anyhow::Result<()> {
    let url = service.url("health");
    let client = service.client(TIMEOUT, false)?;
    let response = client.get(&url).send().await;
    let response = response.map_err(|err| unanswered(&url, &err))?;
    let status = response.status();
    let body = response.text().await.context("incomplete response")?;
    if !status.is_success() {
        bail!("{body}");
    }
    Ok(())
}

/// The error for a request without a response.
pub(crate) fn unanswered(url: &str, err: &reqwest::Error) -> anyhow::Error {
    anyhow!(
        "no response from {url} ({}); is the aggregator running, is --listen the address that it listens on, and is --tls-cert given if it is there?",
        describe(err)
    )
}

/// The address to connect to: loopback if the aggregator listens on all interfaces.
pub(crate) fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listen
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_interfaces_are_reached_on_loopback() {
        let reached = |listen: &str| super::reachable(listen.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(reached("[::]:80"), "[::1]:80");
        assert_eq!(reached("10.0.0.7:80"), "10.0.0.7:80");
    }
}
