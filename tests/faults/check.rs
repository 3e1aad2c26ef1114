//! The check after a round, done three ways: against the publishers' truth, against the API, and with `aggregator
//! verify`; if the store is in a database, also with a recount by SQL.

pub mod shared;

use std::collections::BTreeMap;

use e2e::{postgres::Postgres, store::Store};

use crate::{
    truth::{self, Bounds},
    world::World,
};

/// Differences printed.
const SHOWN: usize = 10;

/// The result of a check.
#[derive(Debug, Default)]
pub struct Found {
    /// Events that were published.
    pub events: u64,
    /// Confirmed identities that are not stored as they were sent.
    pub lost: u64,
    /// Rows in excess of one per identity.
    pub twice: u64,
    /// Descriptions of what does not add up.
    pub wrong: Vec<String>,
}

impl Found {
    pub fn expect(&mut self, is_so: bool, otherwise: impl FnOnce() -> String) {
        if !is_so && self.wrong.len() < SHOWN {
            self.wrong.push(otherwise());
        }
    }

    pub fn is_exact(&self) -> bool {
        self.lost == 0 && self.twice == 0 && self.wrong.is_empty()
    }
}

/// Checks a system in which no event is in flight.
pub async fn check(world: &mut World) -> Found {
    let mut found = Found::default();
    by_api(world, &mut found).await;
    if let Some(database) = &world.database {
        shared::by_rows(world, database, &mut found);
        shared::by_recount(database, &mut found);
    } else {
        by_rows(world, &mut found);
    }
    by_verify(world, &mut found).await;
    found
}

async fn by_api(world: &World, found: &mut Found) {
    let truth = &world.truth;
    let stats = world.api().stats().await.expect("the service answers");
    let Bounds { least, most } = truth.bounds();
    found.events = most + truth.noise_sent();
    found.expect(stats.consistent, || format!("not consistent: {stats:?}"));
    let sum = stats.unique_processed + stats.duplicate_dropped + stats.rejected;
    found.expect(stats.received == sum, || format!("no sum: {stats:?}"));
    let events = stats.received - stats.rejected.min(stats.received);
    found.expect((least..=most).contains(&events), || {
        format!("{events} events received, of {least} to {most}")
    });
    let noise = truth.noise_sent();
    let is_right = stats.rejected == noise || truth.is_lossy() && stats.rejected < noise;
    found.expect(is_right, || {
        format!("{} rejected, not {noise}", stats.rejected)
    });
    found.expect(stats.conflicts == 0, || format!("conflicts: {stats:?}"));
    found.expect(stats.missing == 0 || truth.is_lossy(), || {
        format!("{} messages missing", stats.missing)
    });

    let topics = world.api().topics().await;
    for (name, identities) in truth.identities() {
        let unique = topics
            .get(&name)
            .map_or(0, |counts| counts.unique_processed);
        found.lost += identities.saturating_sub(unique);
        found.expect(unique <= identities, || {
            format!("{name}: {unique} stored of {identities} identities")
        });
    }
    for run in &world.runs {
        let prefix = format!("demo.{}.", run.id);
        let of_run = topics.iter().filter(|(name, _)| name.starts_with(&prefix));
        let unique: u64 = of_run.map(|(_, counts)| counts.unique_processed).sum();
        found.lost += World::RUN_UNIQUE.saturating_sub(unique);
        found.expect(unique <= World::RUN_UNIQUE, || {
            format!("run {}: {unique} stored of {}", run.id, World::RUN_UNIQUE)
        });
    }
    let sums = topics.values().fold([0; 3], |sums, counts| {
        [
            sums[0] + counts.received,
            sums[1] + counts.unique_processed,
            sums[2] + counts.duplicate_dropped,
        ]
    });
    let totals = [events, stats.unique_processed, stats.duplicate_dropped];
    found.expect(sums == totals, || {
        format!("topics have {sums:?}, not {totals:?}")
    });
}

/// Checks that every event of the traffic is stored as it was sent.
fn by_rows(world: &World, found: &mut Found) {
    let store = Store::of(&world.store.path());
    let rows = store.number("SELECT count(*) FROM events");
    let identities =
        store.number("SELECT count(*) FROM (SELECT DISTINCT topic_id, event_id FROM events)");
    found.twice += u64::try_from(rows - identities).unwrap_or(0);
    // A cluster loses nothing that it confirmed, so its stream has one life.
    let lives = store.number("SELECT count(*) FROM incarnations");
    found.expect(lives == 1 || !world.nats.is_cluster(), || {
        format!("the store took the stream for another one: {lives} incarnations")
    });
    let sql = "SELECT name, event_id, payload FROM events JOIN topics ON topics.id = topic_id \
               WHERE name LIKE 'faults.t%'";
    let stored: BTreeMap<(String, String), String> = store
        .query(sql, |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))
        .into_iter()
        .collect();
    contents(world, &stored, found);
}

/// Checks what is stored, by topic and id.
fn contents(world: &World, stored: &BTreeMap<(String, String), String>, found: &mut Found) {
    for (topic, count) in world.truth.identities() {
        for number in 0..u32::try_from(count).expect("fewer than 2^32") {
            let identity = (topic.clone(), format!("e-{number}"));
            let is_so = stored.get(&identity) == Some(&truth::payload(number));
            found.expect(is_so, || {
                format!("{identity:?} is not stored as it was sent")
            });
        }
    }
}

/// Checks with the program's own command, while it runs.
pub async fn by_verify(world: &World, found: &mut Found) {
    let login = world.login("aggregator");
    let address = world.database.as_ref().map(Postgres::url);
    let mut verify = vec!["verify", "--nats-url", &login];
    if let Some(address) = &address {
        verify.extend(["--store", address]);
    }
    let ended = world.aggregator.command(&verify).await;
    found.expect(ended.code == Some(0), || {
        format!("verify: {}\n{}", ended.stdout, ended.stderr)
    });
}
