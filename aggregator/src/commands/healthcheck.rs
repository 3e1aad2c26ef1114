//! `aggregator healthcheck`: asks the local `/health`, for a container's health check.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, bail};

/// Shorter than the time-out that containers give a health check.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the aggregator that listens on `listen`.
///
/// # Errors
/// Where it does not answer, or says that it is not healthy, and why.
pub async fn healthcheck(listen: SocketAddr) -> anyhow::Result<()> {
    let url = format!("http://{}/health", reachable(listen));
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        // It asks this very host; a proxy of the environment would not know it.
        .no_proxy()
        .build()
        .context("cannot make an HTTP client")?;
    let answer = client.get(&url).send().await.context("no answer")?;
    let status = answer.status();
    let body = answer.text().await.context("no whole answer")?;
    if !status.is_success() {
        bail!("{body}");
    }
    Ok(())
}

/// An address that listens on all interfaces is asked on loopback.
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
    fn all_interfaces_are_asked_on_loopback() {
        let asked = |listen: &str| super::reachable(listen.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(asked("[::]:80"), "[::1]:80");
        assert_eq!(asked("10.0.0.7:80"), "10.0.0.7:80");
    }
}
