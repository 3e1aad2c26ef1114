//! The verification of a run, from its settings to its summary.

use std::collections::{BTreeMap, HashMap};

use shared::event::Topic;
use tokio_util::sync::CancellationToken;

use super::unless_stopped;
use crate::{
    progress::say,
    sent::Sent,
    summary::Summary,
    traffic::Recipe,
    verify::{Counts, Rule, Verifier, Wanted, table},
};

/// A verification to come.
pub(super) struct Comparison {
    pub verifier: Verifier,
    pub baseline: HashMap<String, Counts>,
    pub rule: Rule,
    pub wanted: Wanted,
}

impl Comparison {
    /// Of what is made for this run; asked for before it is sent, so that a run id of before is noticed.
    pub async fn fresh(verifier: Verifier, recipe: &Recipe) -> Self {
        let wanted = Wanted::Prefix(recipe.topic_prefix());
        let was_used_before = verifier.has_now(&wanted).await;
        Self {
            verifier,
            baseline: HashMap::new(),
            rule: Rule::Fresh { was_used_before },
            wanted,
        }
    }

    /// Compares, shows the table, and adds what was found to the summary. What was not sent to its end is not compared.
    pub async fn make(
        &self,
        topics: &[Topic],
        sent: &Sent,
        summary: &mut Summary,
        stop: &CancellationToken,
    ) {
        let Self {
            verifier,
            baseline,
            rule,
            wanted,
        } = self;
        if !sent.complete {
            return;
        }
        let names = topics.iter().map(Topic::to_string);
        let by_topic: BTreeMap<_, _> = names
            .zip(sent.topics.iter().copied())
            .filter(|(_, tally)| tally.sent > 0)
            .collect();
        let verifying = verifier.verify(&by_topic, wanted, baseline, *rule);
        match unless_stopped(stop, verifying).await {
            Some(Ok(verified)) => {
                say(table(&verified.verdict, *rule));
                summary.add(&verified, sent);
            }
            Some(Err(err)) => summary.add_failure(err.to_string()),
            None => summary.add_failure("stopped before the aggregator was through".to_owned()),
        }
    }
}
