//! The load: events appended at a steady rate, while queries are measured.

use std::{sync::Arc, time::Duration};

use aggregator::store::{StoreError, Writer};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    feed::Feed,
    intake::now_micros,
    traffic::{Recipe, Traffic},
};

/// Appends one message per transaction, because at this rate a batch is not full before its time is up. Returns the rate
/// that was reached when the token was cancelled.
pub async fn append(
    writer: Writer,
    recipe: Recipe,
    rate: u32,
    token: CancellationToken,
) -> Result<u32, StoreError> {
    let mut feed = Feed::start(Traffic::new(recipe), u64::MAX, 1);
    let began = Instant::now();
    let mut events = 0;
    while let Some(batch) = feed.next().await {
        writer
            .append(Arc::clone(&batch.deliveries), now_micros())
            .await?;
        events += batch.events;
        let due = began + Duration::from_micros(events * 1_000_000 / u64::from(rate));
        tokio::select! {
            () = sleep_until(due) => {}
            () = token.cancelled() => break,
        }
        // If the store is too slow for the rate, `due` is always in the past.
        if token.is_cancelled() {
            break;
        }
    }
    let micros = began.elapsed().as_micros().max(1);
    let reached = u128::from(events) * 1_000_000 / micros;
    Ok(u32::try_from(reached).unwrap_or(u32::MAX))
}
