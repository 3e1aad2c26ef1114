//! `aggregator healthcheck`: queries the local `/health`, for a container's health check.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};

/// Shorter than the timeout of a container's health check.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Checks the aggregator that listens on `listen`.
///
/// # Errors
/// If it does not respond, or if it is not healthy; then the error is the response body, which has the reasons.
pub async fn healthcheck(listen: SocketAddr) -> anyhow::Result<()> {
    let url = format!("http://{}/health", reachable(listen));
    let client = client(TIMEOUT)?;
    let response = client.get(&url).send().await;
    let response = response.map_err(|err| unanswered(&url, &err))?;
    let status = response.status();
    let body = response.text().await.context("incomplete response")?;
    if !status.is_success() {
        bail!("{body}");
    }
    Ok(())
}

/// A client for requests to this host, each of which must be answered within this time.
///
/// # Errors
/// If it cannot be created on this system.
pub(crate) fn client(timeout: Duration) -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(timeout)
        // A proxy from the environment cannot reach this host.
        .no_proxy()
        .build()
        .context("cannot create an HTTP client")
}

/// The error for a request without a response. Of its causes the innermost says the most, such as "Connection refused".
pub(crate) fn unanswered(url: &str, err: &reqwest::Error) -> anyhow::Error {
    let mut cause: &dyn std::error::Error = err;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    anyhow!(
        "no response from {url} ({cause}); is the aggregator running, and is --listen the address that it listens on?"
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
