//! The stores on the stream: their durables, and how far each has come. What one of them has not acked is never trimmed.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use async_nats::jetstream::{
    self,
    consumer::{DeliverPolicy, Info},
    response::Response,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::durable::{OWNER, guard};

/// How long a durable that is gone still holds trimming back. It may have been deleted by mistake under an aggregator that
/// runs, which creates it again within [`super::LONGEST_PAUSE`].
const GRACE: Duration = Duration::from_secs(10);

/// The durable of another store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Other {
    /// Its name.
    pub durable: String,
    /// The store's id and place, as the durable's description has them.
    pub store: String,
    /// The stream sequence up to which it has acked everything.
    pub floor: u64,
}

impl Other {
    /// For people.
    pub fn name(&self) -> String {
        format!("durable {} of store {}", self.durable, self.store)
    }
}

/// The other stores on the stream, as they were last seen.
#[derive(Debug, Default)]
pub(super) struct Stores {
    stores: HashMap<String, (Other, Instant)>,
    /// Names of consumers that the last look found, and that are of no other store.
    foreign: HashSet<String>,
}

impl Stores {
    /// Asks the broker for all durables of the stream, and keeps those of other stores than the one with the durable `own`.
    /// They are distinguished by their names, not by the ids of their stores: a copy of a store has the same id.
    ///
    /// # Errors
    /// Where not every durable is known.
    pub async fn look(
        &mut self,
        jetstream: &jetstream::Context,
        stream: &str,
        own: &str,
        now: Instant,
    ) -> Result<(), async_nats::Error> {
        let mut offset = 0;
        let (mut infos, mut missing) = (Vec::new(), Vec::new());
        loop {
            let page = page(jetstream, stream, offset).await?;
            let (found, silent) = (page.consumers, page.missing);
            let (mut found, mut silent) = (found.unwrap_or_default(), silent.unwrap_or_default());
            let listed = found.len() + silent.len();
            infos.append(&mut found);
            missing.append(&mut silent);
            offset += listed;
            if listed == 0 || offset >= page.total {
                break;
            }
        }
        self.see(infos, missing, own, now)
    }

    /// Takes in what the broker listed: what consumers say, and the names of those that do not answer.
    fn see(
        &mut self,
        infos: Vec<Info>,
        missing: Vec<String>,
        own: &str,
        now: Instant,
    ) -> Result<(), async_nats::Error> {
        let mut foreign = HashSet::new();
        for info in infos {
            let name = info.name.clone();
            let other = other(info).filter(|_| name != own && name != guard(own));
            match other {
                Some(other) => {
                    self.stores.insert(name, (other, now));
                }
                None => {
                    foreign.insert(name);
                }
            }
        }
        let mut unknown = Vec::new();
        for name in missing {
            if let Some((_, seen)) = self.stores.get_mut(&name) {
                // What it has acked stays acked.
                *seen = now;
            } else if self.foreign.contains(&name) || name == own || name == guard(own) {
                foreign.insert(name);
            } else {
                unknown.push(name);
            }
        }
        self.foreign = foreign;
        self.stores.retain(|_, (_, seen)| *seen + GRACE > now);
        if unknown.is_empty() {
            return Ok(());
        }
        unknown.sort_unstable();
        Err(format!(
            "the broker does not know how far these consumers of the stream are: {}; start the servers that keep them, or delete those that nobody needs",
            unknown.join(", ")
        )
        .into())
    }

    /// The one that has come least far.
    pub fn lowest(&self) -> Option<&Other> {
        let others = self.stores.values().map(|(other, _)| other);
        // The name decides among equals, so that the same one is reported each time.
        others.min_by_key(|other| (other.floor, other.durable.as_str()))
    }
}

#[derive(Debug, Serialize)]
struct PageRequest {
    offset: usize,
}

/// A page of the broker's list. The client's own list drops `missing`.
#[derive(Debug, Deserialize)]
struct Page {
    total: usize,
    consumers: Option<Vec<Info>>,
    /// In a cluster, those whose leader does not answer.
    missing: Option<Vec<String>>,
}

/// Consumers from an offset on, and how many there are in all.
async fn page(
    jetstream: &jetstream::Context,
    stream: &str,
    offset: usize,
) -> Result<Page, async_nats::Error> {
    let subject = format!("CONSUMER.LIST.{stream}");
    match jetstream.request(subject, &PageRequest { offset }).await? {
        Response::Err { error } => Err(error.into()),
        Response::Ok(page) => Ok(page),
    }
}

/// A store's durable; none for other consumers.
fn other(info: Info) -> Option<Other> {
    let description = info.config.description.as_deref()?;
    let store = description.strip_prefix(OWNER)?.to_owned();
    // Before its first ack, everything from its start on is still to come.
    let before_start = match info.config.deliver_policy {
        DeliverPolicy::ByStartSequence { start_sequence } => start_sequence.saturating_sub(1),
        _ => 0,
    };
    Some(Other {
        store,
        floor: info.ack_floor.stream_sequence.max(before_start),
        durable: info.name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, description: Option<&str>, start: u64, ack_floor: u64) -> Info {
        serde_json::from_value(serde_json::json!({
            "stream_name": "EVENTS",
            "name": name,
            "created": "2026-01-31T12:00:00Z",
            "config": {
                "durable_name": name,
                "description": description,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": start,
                "ack_policy": "explicit",
                "replay_policy": "instant",
            },
            "delivered": { "consumer_seq": ack_floor, "stream_seq": ack_floor },
            "ack_floor": { "consumer_seq": ack_floor, "stream_seq": ack_floor },
            "num_ack_pending": 0,
            "num_redelivered": 0,
            "num_waiting": 0,
            "num_pending": 0,
        }))
        .unwrap()
    }

    #[test]
    fn a_durable_of_a_store_holds_at_its_ack_floor_and_never_before_its_start() {
        let floor = |start, ack_floor| {
            let description = format!("{OWNER}theirs (there:/data)");
            other(info("theirs", Some(&description), start, ack_floor)).map(|other| other.floor)
        };
        assert_eq!(floor(1, 0), Some(0));
        assert_eq!(floor(1, 40), Some(40));
        assert_eq!(floor(31, 0), Some(30));
        assert_eq!(floor(31, 40), Some(40));
    }

    #[test]
    fn consumers_of_other_programs_hold_nothing() {
        assert_eq!(other(info("dashboard", None, 1, 0)), None);
        assert_eq!(other(info("dashboard", Some("for people"), 1, 0)), None);
    }

    #[test]
    fn the_store_that_has_come_least_far_is_named() {
        let now = Instant::now();
        let known = [("a", 9), ("c", 3), ("b", 3)].map(|(durable, floor)| {
            let other = Other {
                durable: durable.to_owned(),
                store: "theirs".to_owned(),
                floor,
            };
            (durable.to_owned(), (other, now))
        });
        let stores = Stores {
            stores: HashMap::from(known),
            foreign: HashSet::new(),
        };
        assert_eq!(stores.lowest().unwrap().durable, "b");
        assert_eq!(Stores::default().lowest(), None);
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_consumer_that_does_not_answer_is_what_it_was_when_it_last_did() {
        let now = Instant::now();
        let description = format!("{OWNER}theirs (there:/data)");
        let mut stores = Stores::default();
        let listed = vec![
            info("theirs", Some(&description), 1, 40),
            info("dashboard", None, 1, 0),
            info("own", Some(&description), 1, 90),
        ];
        stores.see(listed, Vec::new(), "own", now).unwrap();
        for look in 1..=30 {
            let now = now + Duration::from_secs(look);
            let missing = names(&["theirs", "dashboard", "own"]);
            stores.see(Vec::new(), missing, "own", now).unwrap();
            assert_eq!(stores.lowest().unwrap().floor, 40);
        }
        // It is gone.
        let later = now + Duration::from_secs(60);
        stores.see(Vec::new(), Vec::new(), "own", later).unwrap();
        assert_eq!(stores.lowest(), None);
    }

    #[test]
    fn a_consumer_that_never_answered_is_named() {
        let now = Instant::now();
        let mut stores = Stores::default();
        let known = || vec![info("dashboard", None, 1, 0)];
        stores.see(known(), Vec::new(), "own", now).unwrap();
        for _ in 0..2 {
            let missing = names(&["new", "dashboard", "another"]);
            let err = stores.see(Vec::new(), missing, "own", now).unwrap_err();
            assert!(err.to_string().contains(": another, new;"), "{err}");
        }
        // A name that was given up may be used by a store.
        stores.see(Vec::new(), Vec::new(), "own", now).unwrap();
        assert!(
            stores
                .see(Vec::new(), names(&["dashboard"]), "own", now)
                .is_err()
        );
    }
}
