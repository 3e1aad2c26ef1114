//! The events among which those of a query are found: the chains of its topics, or all.

use std::{
    ops::RangeInclusive,
    sync::{Arc, OnceLock},
};

use rusqlite::Transaction;

use super::{count_all, walk::Over};
use crate::{
    access::{Patterns, Span},
    store::{
        query::{EventQuery, Filter, Order, PageBounds},
        sqlite::{
            gate::Inside,
            topics::{StoredTopics, chain::Chain},
        },
    },
};

/// Events that are read and tested rather than found by the chains of the visible topics.
pub(super) const FEW: i64 = if cfg!(test) { 3 } else { 10_000 };

/// Topics whose chains are merged however many events they hold. To find the place of the first event in each of more chains costs
/// more than to read the events between, if those are not many.
const FEW_TOPICS: usize = if cfg!(test) { 2 } else { 100 };

/// If the chains of more topics hold at least one in this number of events, the events are read and tested.
const DENSE: u64 = 10;

/// The chains of the visible topics, if there are not too many, once they are known. The pages of an export share them: up to a
/// sequence that the store has reached, chains do not change.
#[derive(Debug, Clone, Default)]
pub struct Resolved(Arc<OnceLock<Option<Vec<Chain>>>>);

/// Whether a page may read many events that are not in it: those that a filter excludes, and those of topics that are not visible.
pub(in crate::store::sqlite::reader) fn is_scan(
    query: &EventQuery,
    bounds: &PageBounds,
    newest: i64,
    resolved: &Resolved,
) -> bool {
    let (mut first, mut last) = (bounds.after, newest.min(bounds.last));
    match (query.order, bounds.from) {
        (Order::NewestFirst, Some(from)) => last = last.min(from - 1),
        (Order::OldestFirst, Some(from)) => first = first.max(from),
        (_, None) => {}
    }
    let are_chains = matches!(resolved.0.get(), Some(Some(chains)) if chains.len() <= FEW_TOPICS);
    query.filter != Filter::default() || !are_chains && is_many(query, last.saturating_sub(first))
}

/// Whether a query by visible topics reads many events or chains, in a range of this many sequences.
pub(in crate::store::sqlite::reader) fn is_many(query: &EventQuery, sequences: i64) -> bool {
    query.topics.is_empty()
        && sequences > FEW
        && query
            .visible
            .patterns()
            .is_some_and(|patterns| !is_named(patterns))
}

/// Whether patterns are the names of few topics.
fn is_named(patterns: &Patterns) -> bool {
    let spans = patterns.spans();
    spans.len() <= FEW_TOPICS && spans.iter().all(|span| matches!(span, Span::One(_)))
}

impl Resolved {
    /// The events to walk over, and the number of all that are visible, if it is known. They may be of topics that are not visible,
    /// unless they are chains.
    pub(super) fn over(
        &self,
        (read, inside): (&Transaction<'_>, &Inside),
        query: &EventQuery,
        range: &RangeInclusive<i64>,
        needs_total: bool,
    ) -> rusqlite::Result<(Over, Option<u64>)> {
        if let Some(chains) = chains(read, &query.topics)? {
            let total = held(&chains);
            return Ok((Over::Chains(chains), Some(total)));
        }
        let Some(patterns) = query.visible.patterns() else {
            return Ok((Over::All, Some(count_all(read)?)));
        };
        // A tail reads only the few events that are new.
        if !needs_total && range.end() - range.start() < FEW {
            return Ok((Over::All, None));
        }
        let Some(chains) = self.chains((read, inside), patterns)? else {
            return Ok((Over::All, None));
        };
        let total = held(&chains);
        let is_dense = chains.len() > FEW_TOPICS && total.saturating_mul(DENSE) >= count_all(read)?;
        let over = if is_dense {
            Over::All
        } else {
            Over::Chains(chains)
        };
        Ok((over, Some(total)))
    }

    /// The chains of the topics of patterns; `None` if these cannot be found in time.
    pub(super) fn chains(
        &self,
        (read, inside): (&Transaction<'_>, &Inside),
        patterns: &Patterns,
    ) -> rusqlite::Result<Option<Vec<Chain>>> {
        if let Some(known) = self.0.get() {
            return Ok(known.clone());
        }
        let topics = StoredTopics::open(read)?.visible(patterns, inside)?;
        let chains = topics.map(|topics| topics.iter().map(Chain::of_state).collect());
        Ok(self.0.get_or_init(|| chains).clone())
    }
}

/// The number of events in chains.
fn held(chains: &[Chain]) -> u64 {
    chains.iter().map(|chain| chain.length).sum()
}

/// The chains of those topics that have events; `None` if the query selects all topics.
pub(super) fn chains(
    read: &Transaction<'_>,
    topics: &[String],
) -> rusqlite::Result<Option<Vec<Chain>>> {
    if topics.is_empty() {
        return Ok(None);
    }
    let chains = topics.iter().map(|topic| Chain::of(read, topic));
    let chains: Vec<_> = chains.collect::<Result<_, _>>()?;
    Ok(Some(chains.into_iter().flatten().collect()))
}
