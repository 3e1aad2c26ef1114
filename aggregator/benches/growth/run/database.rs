//! The contender whose store is in a database.

use aggregator::store::{self, Address, Bounds, Opening};
use anyhow::{Context, ensure};
use tokio_postgres::NoTls;

use super::{Account, Counts};
use crate::{
    feed::Feed,
    intake::{self, now_micros},
    settings::Settings,
};

/// Appends the feed, and prints the sizes of the tables.
pub(super) async fn run(
    feed: Feed,
    settings: &Settings,
    account: &mut Account,
) -> anyhow::Result<Counts> {
    let url = settings.store.as_deref().context("it needs --store URL")?;
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let address: Address = url.parse()?;
    let opening = Opening::default();
    let opened = store::open_shared(&address, now_micros(), Bounds::default(), &opening).await?;
    let (writer, ended, reader) = opened;
    ensure!(
        reader.stats(0).await?.received == 0,
        "the database has events already"
    );
    let upkeep = tokio::spawn(ended.wait());
    intake::meet(&writer).await?;
    let mut recorded = Ok(());
    intake::append_all(&writer, feed, |batch, took| {
        if recorded.is_ok() {
            recorded = account.stored(batch, took);
        }
    })
    .await?;
    recorded?;
    let stats = reader.stats(0).await?;
    drop((writer, reader));
    upkeep.await??;
    let rows = client.query_one("SELECT count(*) FROM events", &[]).await?;
    let sizes = "SELECT relname, pg_relation_size(oid) >> 20 FROM pg_class \
         WHERE relkind IN ('r', 'i') AND pg_relation_size(oid) > 1 << 20 ORDER BY 2 DESC";
    for row in client.query(sizes, &[]).await? {
        let (name, mib): (String, i64) = (row.get(0), row.get(1));
        eprintln!("{name}: {mib} MiB");
    }
    drop(client);
    connection.await??;
    Ok(Counts {
        unique_processed: stats.unique_processed,
        duplicate_dropped: stats.duplicate_dropped,
        rows: u64::try_from(rows.get::<_, i64>(0))?,
    })
}
