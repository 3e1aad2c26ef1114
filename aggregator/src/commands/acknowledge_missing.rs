//! `aggregator acknowledge-missing`: acknowledges the stream sequences that were lost before they were applied.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use serde::Deserialize;
use shared::command_line::print;

use super::healthcheck::{client, reachable, unanswered};

/// The store may be busy with a batch, or with rebuilding its index.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
struct Missing {
    missing: Vec<Range>,
}

#[derive(Debug, Deserialize)]
struct Range {
    stream: String,
    first: u64,
    last: u64,
    noticed_at: String,
    acknowledged_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Acknowledged {
    acknowledged: u64,
}

/// Prints the missing sequences of the aggregator that listens on `listen`, and acknowledges them.
///
/// # Errors
/// If it does not respond, or cannot write to its store.
pub async fn acknowledge(listen: SocketAddr) -> anyhow::Result<()> {
    let base = format!("http://{}/missing", reachable(listen));
    let client = client(TIMEOUT)?;
    let response = client.get(&base).send().await;
    let response = response.map_err(|err| unanswered(&base, &err))?;
    let Missing { missing } = response.json().await.context("unexpected response")?;
    for range in missing.iter().filter(|r| r.acknowledged_at.is_none()) {
        print(format_args!(
            "stream {}: {} to {}, noticed at {}\n",
            range.stream, range.first, range.last, range.noticed_at
        ))
        .context("nothing was acknowledged, because the sequences cannot be printed")?;
    }
    let response = client
        .post(format!("{base}/acknowledge"))
        .header("content-type", "application/json")
        .send()
        .await
        .context("no response")?;
    if !response.status().is_success() {
        bail!("{}", response.text().await.context("incomplete response")?);
    }
    let Acknowledged { acknowledged } = response.json().await.context("unexpected response")?;
    print(format_args!("{acknowledged} sequences acknowledged\n"))
        .context("the sequences were acknowledged, but their number cannot be printed")
}
