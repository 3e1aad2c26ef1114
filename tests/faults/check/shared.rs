//! The check of a store in a database, by SQL.

use e2e::postgres::Postgres;

use super::{Found, contents};
use crate::world::World;

/// Checks that every event of the traffic is stored as it was sent.
pub fn by_rows(world: &World, database: &Postgres, found: &mut Found) {
    let twice = database.number("SELECT count(*) - count(DISTINCT (topic, event_id)) FROM events");
    found.twice += u64::try_from(twice).unwrap_or(0);
    // A cluster loses nothing that it confirmed, so its stream has one life.
    let lives = database.number("SELECT count(*) FROM incarnations");
    found.expect(lives == 1, || {
        format!("the store took the stream for another one: {lives} incarnations")
    });
    let rows = database.sql(
        "SELECT convert_from(topic, 'UTF8'), convert_from(event_id, 'UTF8'), payload FROM events \
         WHERE topic LIKE 'faults.t%'::bytea",
    );
    let stored = rows.lines().filter_map(|line| {
        let mut fields = line.splitn(3, '\t').map(str::to_owned);
        Some(((fields.next()?, fields.next()?), fields.next()?))
    });
    contents(world, &stored.collect(), found);
}

/// Checks that the counters of all aggregators are those that the rows have.
pub fn by_recount(database: &Postgres, found: &mut Found) {
    for (what, sql) in [
        (
            "counters do not add up",
            "SELECT count(*) FROM counters \
             WHERE received <> unique_processed + duplicate_dropped + rejected",
        ),
        (
            "events that are stored and not counted, or the reverse",
            "SELECT abs((SELECT count(*) FROM events) - (SELECT sum(unique_processed) FROM counters))",
        ),
        (
            "topics whose count is not that of their rows",
            "SELECT count(*) FROM (SELECT topic, count(*) AS rows FROM events GROUP BY topic) stored \
             FULL JOIN (SELECT topic, sum(unique_processed) AS rows FROM topics GROUP BY topic) counted \
             USING (topic) WHERE coalesce(stored.rows, 0) <> coalesce(counted.rows, 0)",
        ),
        (
            "duplicates of topics that are not those of the counters",
            "SELECT abs((SELECT sum(duplicate_dropped) FROM topics) \
             - (SELECT sum(duplicate_dropped) FROM counters))",
        ),
        (
            "events of minutes that are not those of the counters",
            "SELECT abs((SELECT sum(unique_processed + duplicate_dropped + rejected) FROM minutes) \
             - (SELECT sum(received) FROM counters))",
        ),
        (
            "rejected arrivals that are not counted, or the reverse",
            "SELECT abs((SELECT count(*) FROM rejected) \
             - (SELECT sum(rejected - rejected_evicted) FROM counters))",
        ),
        (
            "places with two events",
            "SELECT count(*) - count(DISTINCT place) FROM events",
        ),
    ] {
        let differences = database.number(sql);
        found.expect(differences == 0, || format!("{differences} {what}"));
    }
}
