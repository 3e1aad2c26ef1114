//! `query`: the stored events that match, as they come.

use std::pin::pin;

use anyhow::bail;
use tokio::io::AsyncWrite;

use super::{next, output::Output};
use crate::{
    api::{self, Api, describe},
    config::Query,
};

/// Prints them, and holds no more of them than is under way.
///
/// # Errors
/// Where there is no answer, or not all of it.
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
    api::expect_kind(&answer, "ndjson")?;
    let mut parts = pin!(answer.bytes_stream());
    while let Some(part) = next(&mut parts, output).await? {
        match part {
            Ok(part) => output.part(&part).await?,
            Err(err) => {
                output.flush().await?;
                bail!(
                    "the answer broke off ({}): the output is not whole",
                    describe(&err)
                );
            }
        }
    }
    Ok(output.end().await?)
}
