//! `aggregator acknowledge-missing`: a person has taken note of the stream sequences that were lost.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::healthcheck::reachable;

/// The store may be busy with a batch, or with making its index anew.
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

/// Shows what is missing at the aggregator that listens on `listen`, and acknowledges it.
///
/// # Errors
/// Where it does not answer, or cannot write its store.
pub async fn acknowledge(listen: SocketAddr) -> anyhow::Result<()> {
    let base = format!("http://{}/missing", reachable(listen));
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        // It asks this very host; a proxy of the environment would not know it.
        .no_proxy()
        .build()
        .context("cannot make an HTTP client")?;
    let answer = client.get(&base).send().await;
    let answer = answer.with_context(|| format!("no answer from {base}; is it running?"))?;
    let Missing { missing } = answer.json().await.context("an answer of another kind")?;
    for range in missing.iter().filter(|r| r.acknowledged_at.is_none()) {
        println!(
            "stream {}: {} to {}, noticed at {}",
            range.stream, range.first, range.last, range.noticed_at
        );
    }
    let answer = client
        .post(format!("{base}/acknowledge"))
        .header("content-type", "application/json")
        .send()
        .await
        .context("no answer")?;
    if !answer.status().is_success() {
        bail!("{}", answer.text().await.context("no whole answer")?);
    }
    let Acknowledged { acknowledged } = answer.json().await.context("an answer of another kind")?;
    println!("{acknowledged} sequences acknowledged");
    Ok(())
}
