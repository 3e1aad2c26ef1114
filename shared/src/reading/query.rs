//! `query`: prints matching stored events as they arrive.

use std::pin::pin;

use anyhow::bail;
use tokio::io::AsyncWrite;

use super::{next, output::Output};
use crate::{
    api::{self, Api, describe},
    config::Query,
};

/// Prints the matching events as they arrive, in bounded memory.
///
/// # Errors
/// If there is no answer, or it ends early.
pub async fn query(
    api: &Api,
    query: &Query,
    output: &mut Output<impl AsyncWrite + Unpin>,
) -> anyhow::Result<()> {
    let parameters = query.parameters();
    let parameters: Vec<_> = parameters
        .iter()
        .map(|(name, value)| (name, value.as_str()))
        .collect();
    let answer = api::answer(api.get(api.url("events", &parameters))).await?;
    api::expect_media_type(&answer, "ndjson")?;
    let mut parts = pin!(answer.bytes_stream());
    while let Some(part) = next(&mut parts, output).await? {
        match part {
            Ok(part) => output.part(&part).await?,
            Err(err) => {
                output.flush().await?;
                bail!(
                    "the answer ended early ({}): the output is incomplete",
                    describe(&err)
                );
            }
        }
    }
    Ok(output.end().await?)
}
