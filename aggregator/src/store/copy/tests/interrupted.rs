//! Copies that were interrupted.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::store::postgres::tests::proxy::{Fault, Proxy};

/// A digest of all rows of the copy.
fn rows(database: &Database) -> String {
    let tables = [
        "events",
        "topics",
        "rejected",
        "conflicts",
        "minutes",
        "counters",
        "incarnations",
        "missing",
    ];
    let digests = tables.map(|table| {
        database.sql(&format!(
            "SELECT '{table}', count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t"
        ))
    });
    digests.join("\n")
}

#[test]
fn a_copy_that_ended_after_any_chunk_is_continued() {
    let Some(whole) = Copying::of(fill) else {
        return;
    };
    whole.copy();
    let expected = rows(&whole.database);
    let mut runs = 0;
    let database = Database::new().unwrap();
    let address: Address = database.url().parse().unwrap();
    let one_chunk = ChunkLimits {
        stop_after: 1,
        ..SMALL
    };
    let copied = loop {
        runs += 1;
        match whole.copy_to(&address, one_chunk, &Quiet) {
            Err(CopyError::Stopped) => {
                let refused = Store::try_in_database(database.clone(), Bounds::default());
                let refused = refused.err().unwrap().to_string();
                assert!(refused.contains("aggregator store copy"), "{refused}");
            }
            ended => break ended.unwrap(),
        }
    };
    assert!(runs > 10, "{runs}");
    assert_eq!(copied.how, How::Continued);
    assert_eq!(rows(&database), expected);
    let again = whole.copy_to(&address, SMALL, &Quiet).unwrap();
    assert_eq!(again.how, How::Before);
    assert_eq!(rows(&database), expected);
}

/// Lets the COMMIT of a chunk fail.
struct Failing<'a> {
    proxy: &'a Proxy,
    fault: Fault,
    is_due: AtomicBool,
}

impl Progress for Failing<'_> {
    fn begins(&self, _: &'static str) {}

    fn at(&self, _: &'static str, done: u64, _: u64) {
        if done > 0 && self.is_due.swap(false, Ordering::SeqCst) {
            self.proxy.fail_next(self.fault);
        }
    }
}

#[test]
fn a_chunk_whose_commit_was_not_answered_is_written_once() {
    let Some(copying) = Copying::of(fill) else {
        return;
    };
    copying.copy();
    let expected = rows(&copying.database);
    let runtime = Arc::clone(&copying.original.runtime);
    for fault in [Fault::Before, Fault::After] {
        let database = Arc::new(Database::new().unwrap());
        let proxy = runtime.block_on(Proxy::before(&database));
        let address: Address = database.url_through(proxy.port).parse().unwrap();
        let failing = Failing {
            proxy: &proxy,
            fault,
            is_due: AtomicBool::new(true),
        };
        let copied = copying.copy_to(&address, SMALL, &failing).unwrap();
        assert!(proxy.has_failed(), "{fault:?}");
        assert_eq!(copied.how, How::Whole);
        assert_eq!(rows(&database), expected, "{fault:?}");
    }
}

#[test]
fn a_store_that_has_changed_since_is_copied_again() {
    let Some(mut copying) = Copying::of(fill) else {
        return;
    };
    let stopped = ChunkLimits {
        stop_after: 4,
        ..SMALL
    };
    let err = copying.copy_in(stopped).unwrap_err();
    assert!(matches!(err, CopyError::Stopped), "{err}");
    copying.original.reopen();
    copying.original.meet(stream(25, 28));
    let mut late = delivery(26, &[of(4, 200, 0)]);
    late.time += 100;
    copying.original.append(&[late]).unwrap();
    copying.original.close();
    let copied = copying.copy();
    assert_eq!(copied.how, How::Again);
    let opened = copying.opened();
    assert_eq!(opened.stats().unique_processed, copied.events);
    assert_eq!(opened.writer().standing().floor, 28);
}
