//! Opening a store: its tables are made once, and a database that would lose what was acked is refused.

use super::{Opened, with_database};
use crate::store::StoreError;

#[test]
fn aggregators_that_start_at_once_make_the_tables_once() {
    with_database(async |database| {
        let url = database.url();
        let open = || Opened::at(&url);
        let (one, other, third) = tokio::join!(open(), open(), open());
        assert_eq!(one.writer.store_id(), other.writer.store_id());
        assert_eq!(one.writer.shared().key, third.writer.shared().key);
        let mut slots = [&one, &other, &third].map(|opened| opened.writer.shared().slot);
        slots.sort_unstable();
        assert_eq!(slots, [0, 1, 2], "each has rows of counters of its own");
    });
}

#[test]
fn a_newer_schema_is_refused() {
    with_database(async |database| {
        drop(Opened::at(&database.url()).await);
        database.sql("UPDATE schema_version SET version = 99");
        let err = Opened::try_at(&database.url()).await.err().unwrap();
        assert!(matches!(err, StoreError::Newer { found: 99, .. }), "{err}");
    });
}

#[test]
fn a_database_that_does_not_wait_for_the_disk_is_refused() {
    with_database(async |database| {
        let name = database.sql("SELECT current_database()");
        database.sql(&format!(
            "ALTER DATABASE {name} SET synchronous_commit = off"
        ));
        let err = Opened::try_at(&database.url()).await.err().unwrap();
        assert!(err.to_string().contains("synchronous_commit"), "{err}");
        database.sql(&format!(
            "ALTER DATABASE {name} SET synchronous_commit = on"
        ));
        database.sql(&format!(
            "ALTER DATABASE {name} SET default_transaction_read_only = on"
        ));
        let err = Opened::try_at(&database.url()).await.err().unwrap();
        assert!(err.to_string().contains("does not allow writes"), "{err}");
    });
}

#[test]
fn a_lease_has_one_holder_until_it_ends() {
    with_database(async |database| {
        let one = Opened::at(&database.url()).await;
        let other = Opened::at(&database.url()).await;
        let lease = async |by: &Opened, seconds| by.writer.lease("test", seconds).await.unwrap();
        assert_eq!(lease(&one, 60.0).await, Some(1));
        assert_eq!(lease(&other, 60.0).await, None);
        assert_eq!(
            lease(&one, 0.0).await,
            Some(1),
            "its holder keeps it, and lets it end"
        );
        assert_eq!(lease(&other, 60.0).await, Some(2));
        assert_eq!(lease(&one, 60.0).await, None);
    });
}
