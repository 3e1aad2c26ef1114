//! `aggregator acknowledge-missing`: acknowledges the stream sequences that were lost before they were applied.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{
    RequestBuilder,
    header::{AUTHORIZATION, HeaderValue},
};
use serde::Deserialize;
use shared::command_line::print;

use super::healthcheck::{Service, unanswered};

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

/// Prints the missing sequences of the aggregator on this host, and acknowledges them. `token` is sent if it asks for one.
///
/// # Errors
/// If it does not respond, or cannot write to its store.
pub async fn acknowledge(service: &Service, token: Option<&HeaderValue>) -> anyhow::Result<()> {
    let base = service.url("missing");
    let client = service.client(TIMEOUT, true)?;
    let authorized = |request: RequestBuilder| match token {
        Some(token) => request.header(AUTHORIZATION, token),
        None => request,
    };
    let response = authorized(client.get(&base)).send().await;
    let response = response.map_err(|err| unanswered(&base, &err))?;
    if !response.status().is_success() {
        bail!("{}", response.text().await.context("incomplete response")?);
    }
    let Missing { missing } = response.json().await.context("unexpected response")?;
    for range in missing.iter().filter(|r| r.acknowledged_at.is_none()) {
        print(format_args!(
            "stream {}: {} to {}, noticed at {}\n",
            range.stream, range.first, range.last, range.noticed_at
        ))
        .context("nothing was acknowledged, because the sequences cannot be printed")?;
    }
    let response = authorized(client.post(format!("{base}/acknowledge")))
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
