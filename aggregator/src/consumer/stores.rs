//! The stores on the stream: their durables, and how far each has acked. What one of them has not acked is never trimmed.

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

/// How long a durable that was deleted still holds trimming back. It may have been deleted by mistake while its aggregator
/// runs, which recreates it within [`super::LONGEST_PAUSE`].
const GRACE: Duration = Duration::from_secs(10);

/// The durable of another store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Other {
    /// Its name.
    pub durable: String,
    /// The store's id and location, as in the durable's description.
    pub store: String,
    /// The stream sequence up to which it has acked everything.
    pub floor: u64,
}

impl Other {
    /// A human-readable description.
    pub fn name(&self) -> String {
        format!("durable {} of store {}", self.durable, self.store)
    }
}

/// The other stores on the stream, as last reported.
#[derive(Debug, Default)]
pub(super) struct Stores {
    stores: HashMap<String, (Other, Instant)>,
    /// Names of consumers in the last list that belong to no other store.
    foreign: HashSet<String>,
}

impl Stores {
    /// Reads all durables of the stream from the broker, and keeps those of stores other than the one with the durable `own`.
    /// They are distinguished by their names, not by the ids of their stores: a copy of a store has the same id.
    ///
    /// # Errors
    /// If the state of a durable is not known.
    pub async fn refresh(
        &mut self,
        jetstream: &jetstream::Context,
        stream: &str,
        own: &str,
        now: Instant,
    ) -> Result<(), async_nats::Error> {
        let mut offset = 0;
        let (mut infos, mut missing) = (Vec::new(), Vec::new());
        loop {
            let page = consumer_page(jetstream, stream, offset).await?;
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
        self.record(infos, missing, own, now)
    }

    /// Records a list from the broker: the consumers' states, and the names of those that do not respond.
    fn record(
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
            "the broker does not know how far these consumers have read: {}; start the servers that hold them, or delete consumers that are no longer needed",
            unknown.join(", ")
        )
        .into())
    }

    /// The store that has acked least.
    pub fn lowest(&self) -> Option<&Other> {
        let others = self.stores.values().map(|(other, _)| other);
        // Ties are broken by name, so that the same store is reported each time.
        others.min_by_key(|other| (other.floor, other.durable.as_str()))
    }
}

#[derive(Debug, Serialize)]
struct ConsumerPageRequest {
    offset: usize,
}

/// A page of the broker's list of consumers. The client library's list drops `missing`.
#[derive(Debug, Deserialize)]
struct ConsumerPage {
    total: usize,
    consumers: Option<Vec<Info>>,
    /// In a cluster, the consumers whose leader does not respond.
    missing: Option<Vec<String>>,
}

/// Requests the consumers from an offset on, and their total number.
async fn consumer_page(
    jetstream: &jetstream::Context,
    stream: &str,
    offset: usize,
) -> Result<ConsumerPage, async_nats::Error> {
    let subject = format!("CONSUMER.LIST.{stream}");
    match jetstream
        .request(subject, &ConsumerPageRequest { offset })
        .await?
    {
        Response::Err { error } => Err(error.into()),
        Response::Ok(page) => Ok(page),
    }
}

/// The durable of a store; `None` for other consumers.
fn other(info: Info) -> Option<Other> {
    let description = info.config.description.as_deref()?;
    let store = description.strip_prefix(OWNER)?.to_owned();
    // Before its first ack, everything from its start on is unacked.
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
    fn a_durable_holds_messages_after_its_ack_floor_and_never_before_its_start() {
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
    fn consumers_of_other_programs_hold_no_messages() {
        assert_eq!(other(info("dashboard", None, 1, 0)), None);
        assert_eq!(other(info("dashboard", Some("for people"), 1, 0)), None);
    }

    #[test]
    fn the_store_that_has_acked_least_is_named() {
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
    fn a_consumer_that_does_not_respond_keeps_its_last_known_state() {
        let now = Instant::now();
        let description = format!("{OWNER}theirs (there:/data)");
        let mut stores = Stores::default();
        let listed = vec![
            info("theirs", Some(&description), 1, 40),
            info("dashboard", None, 1, 0),
            info("own", Some(&description), 1, 90),
        ];
        stores.record(listed, Vec::new(), "own", now).unwrap();
        for second in 1..=30 {
            let now = now + Duration::from_secs(second);
            let missing = names(&["theirs", "dashboard", "own"]);
            stores.record(Vec::new(), missing, "own", now).unwrap();
            assert_eq!(stores.lowest().unwrap().floor, 40);
        }
        // It was deleted.
        let later = now + Duration::from_secs(60);
        stores.record(Vec::new(), Vec::new(), "own", later).unwrap();
        assert_eq!(stores.lowest(), None);
    }

    #[test]
    fn a_consumer_that_never_responded_is_named() {
        let now = Instant::now();
        let mut stores = Stores::default();
        let known = || vec![info("dashboard", None, 1, 0)];
        stores.record(known(), Vec::new(), "own", now).unwrap();
        for _ in 0..2 {
            let missing = names(&["new", "dashboard", "another"]);
            let err = stores.record(Vec::new(), missing, "own", now).unwrap_err();
            assert!(err.to_string().contains(": another, new;"), "{err}");
        }
        // A name that was freed may be used by a store.
        stores.record(Vec::new(), Vec::new(), "own", now).unwrap();
        assert!(
            stores
                .record(Vec::new(), names(&["dashboard"]), "own", now)
                .is_err()
        );
    }
}
