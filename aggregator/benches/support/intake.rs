//! The intake: appends a feed to the store through its public interface, as the durable consumer does.

use std::{
    ops::Range,
    pin::pin,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use aggregator::store::{BATCHES_IN_FLIGHT, StoreError, Writer};
use futures::{StreamExt, stream};
use shared::stream::StreamState;

use super::feed::{Batch, Feed};

/// Compares the store with an empty stream.
pub async fn meet(writer: &Writer) -> Result<(), StoreError> {
    let stream = StreamState {
        name: "EVENTS".to_owned(),
        created: 1,
        first: 1,
        last: 0,
        messages: 0,
        bytes: 0,
    };
    writer.meet(stream.into(), now_micros()).await.map(drop)
}

/// Appends all of a feed. Calls `each` for every batch, in order, with the times when it was submitted and when it was on disk.
pub async fn append_all(
    writer: &Writer,
    feed: Feed,
    mut each: impl FnMut(&Batch, Range<Instant>),
) -> Result<(), StoreError> {
    let batches = stream::unfold(feed, async |mut feed| {
        feed.next().await.map(|batch| (batch, feed))
    });
    let appends = batches.map(async |batch| {
        let submitted = Instant::now();
        let deliveries = Arc::clone(&batch.deliveries);
        writer.append(deliveries, now_micros()).await?;
        Ok::<_, StoreError>((batch, submitted..Instant::now()))
    });
    let mut stored = pin!(appends.buffered(BATCHES_IN_FLIGHT));
    while let Some(stored) = stored.next().await {
        let (batch, took) = stored?;
        each(&batch, took);
    }
    Ok(())
}

/// The current time in microseconds since 1970.
pub fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}
