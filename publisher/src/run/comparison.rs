//! The verification of a run: its rule, its baseline, and its result in the summary.

use std::collections::{BTreeMap, HashMap};

use shared::{command_line::say, event::Topic};
use tokio_util::sync::CancellationToken;

use super::unless_stopped;
use crate::{
    send_stats::SendStats,
    summary::Summary,
    traffic::Recipe,
    verify::{Counts, Rule, TopicSelection, Verifier, table},
};

/// A pending verification.
pub(super) struct Comparison {
    pub verifier: Verifier,
    pub baseline: HashMap<String, Counts>,
    pub rule: Rule,
    pub selection: TopicSelection,
}

impl Comparison {
    /// A verification of generated events. Created before they are sent, so that a reused run id is noticed.
    pub async fn fresh(verifier: Verifier, recipe: &Recipe) -> Self {
        let selection = TopicSelection::Prefix(recipe.topic_prefix());
        let was_used_before = verifier.has_topics(&selection).await;
        Self {
            verifier,
            baseline: HashMap::new(),
            rule: Rule::Fresh { was_used_before },
            selection,
        }
    }

    /// Compares, prints the table, and adds the result to the summary. An incomplete run is not compared.
    pub async fn run(
        &self,
        topics: &[Topic],
        sent: &SendStats,
        summary: &mut Summary,
        stop: &CancellationToken,
    ) {
        let Self {
            verifier,
            baseline,
            rule,
            selection,
        } = self;
        if !sent.complete {
            return;
        }
        let names = topics.iter().map(Topic::to_string);
        let by_topic: BTreeMap<_, _> = names
            .zip(sent.topics.iter().copied())
            .filter(|(_, tally)| tally.sent > 0)
            .collect();
        let verifying = verifier.verify(&by_topic, selection, baseline, *rule);
        match unless_stopped(stop, verifying).await {
            Some(Ok(verified)) => {
                say(table(&verified.verdict, *rule));
                summary.add(&verified, sent);
            }
            Some(Err(err)) => summary.add_failure(err.to_string()),
            None => summary
                .add_failure("stopped before the aggregator had applied everything".to_owned()),
        }
    }
}
