//! Walks over the events in order: over all of them, over the merged chains of some topics, or over known sequences.

use std::{cmp::Reverse, collections::BinaryHeap, ops::RangeInclusive};

use rusqlite::{CachedStatement, Row, Transaction, params};

use super::select;
use crate::store::{
    query::Order,
    sqlite::{
        gate::Inside,
        topics::chain::{Back, Chain},
    },
};

/// Whether the walk continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    On,
    End,
}

/// How the walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walked {
    /// There are no more events, or the visitor ended the walk.
    ToEnd,
    /// There was no time to find the next event, if there is one.
    OutOfTime,
}

/// The events that a walk visits.
#[derive(Debug)]
pub(super) enum Over {
    All,
    Chains(Vec<Chain>),
    /// The events with these sequences.
    Sequences(Vec<i64>),
}

/// A walk. Over chains, first it finds where it begins in each chain, in as many transactions as needed; the rest is one transaction.
#[derive(Debug)]
pub(super) struct Walk {
    over: Over,
    order: Order,
    range: RangeInclusive<i64>,
    /// Where the walk enters each chain, for the chains done so far: the chain's latest event in the range, or its first ones
    /// in descending order.
    entries: Vec<Vec<i64>>,
    /// The walk back to the entry of the next chain.
    back: Option<Back>,
}

impl Walk {
    /// A walk over those events with sequences in the range.
    pub fn new(over: Over, order: Order, range: RangeInclusive<i64>) -> Self {
        Self {
            over,
            order,
            range,
            entries: Vec::new(),
            back: None,
        }
    }

    /// Visits the events. May be called again if it ran out of time before it visited any event.
    pub fn go(
        &mut self,
        read: &Transaction<'_>,
        inside: &Inside,
        visit: impl FnMut(&Row<'_>) -> rusqlite::Result<Next>,
    ) -> rusqlite::Result<Walked> {
        if self.range.is_empty() {
            return Ok(Walked::ToEnd);
        }
        match &self.over {
            Over::All => return self.all(read, visit),
            Over::Sequences(sequences) => return self.each(read, sequences, visit),
            Over::Chains(_) => {}
        }
        if !self.enter(read, inside)? {
            return Ok(Walked::OutOfTime);
        }
        match self.order {
            Order::NewestFirst => self.backwards(read, visit),
            Order::OldestFirst => self.forwards(read, inside, visit),
        }
    }

    fn all(
        &self,
        read: &Transaction<'_>,
        mut visit: impl FnMut(&Row<'_>) -> rusqlite::Result<Next>,
    ) -> rusqlite::Result<Walked> {
        let sql = select(match self.order {
            Order::NewestFirst => "e.sequence BETWEEN ?1 AND ?2 ORDER BY e.sequence DESC",
            Order::OldestFirst => "e.sequence BETWEEN ?1 AND ?2 ORDER BY e.sequence",
        });
        let mut statement = read.prepare_cached(&sql)?;
        let mut rows = statement.query(params![self.range.start(), self.range.end()])?;
        while let Some(row) = rows.next()? {
            if visit(row)? == Next::End {
                break;
            }
        }
        Ok(Walked::ToEnd)
    }

    fn each(
        &self,
        read: &Transaction<'_>,
        sequences: &[i64],
        mut visit: impl FnMut(&Row<'_>) -> rusqlite::Result<Next>,
    ) -> rusqlite::Result<Walked> {
        let in_range = sequences.iter().filter(|at| self.range.contains(at));
        let mut sequences: Vec<i64> = in_range.copied().collect();
        sequences.sort_unstable();
        if self.order == Order::NewestFirst {
            sequences.reverse();
        }
        let mut statement = one(read)?;
        for sequence in sequences {
            let mut rows = statement.query([sequence])?;
            let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            if visit(row)? == Next::End {
                break;
            }
        }
        Ok(Walked::ToEnd)
    }

    fn chains(&self) -> &[Chain] {
        match &self.over {
            Over::Chains(chains) => chains,
            Over::All | Over::Sequences(_) => &[],
        }
    }

    /// Finds where each chain is entered; returns whether there was time for all of them.
    fn enter(&mut self, read: &Transaction<'_>, inside: &Inside) -> rusqlite::Result<bool> {
        let (first, last) = (*self.range.start(), *self.range.end());
        let Over::Chains(chains) = &self.over else {
            return Ok(true);
        };
        while let Some(chain) = chains.get(self.entries.len()) {
            let back = match (&mut self.back, self.order) {
                (Some(back), _) => back,
                (None, Order::NewestFirst) if chain.last <= last => {
                    self.entries.push(vec![chain.last]);
                    continue;
                }
                (none, Order::NewestFirst) => {
                    if !inside.has_time() {
                        return Ok(false);
                    }
                    // A client that pages usually has an event of the chain at the bound.
                    if let Some(before) = chain.before(read, last.saturating_add(1))? {
                        self.entries.push(vec![before]);
                        continue;
                    }
                    none.insert(chain.back_to(last))
                }
                (none, Order::OldestFirst) => none.insert(chain.back_to(first - 1)),
            };
            if !back.go(read, inside)? {
                return Ok(false);
            }
            let entry = match self.order {
                Order::NewestFirst => vec![back.latest()],
                Order::OldestFirst => back.following(),
            };
            self.entries.push(entry);
            self.back = None;
        }
        Ok(true)
    }

    /// Follows each event to the previous one, the latest of all chains first. Reads only the rows that are visited.
    fn backwards(
        &self,
        read: &Transaction<'_>,
        mut visit: impl FnMut(&Row<'_>) -> rusqlite::Result<Next>,
    ) -> rusqlite::Result<Walked> {
        let mut heads: BinaryHeap<i64> = self.entries.iter().flatten().copied().collect();
        let mut statement = one(read)?;
        while let Some(sequence) = heads.pop() {
            if sequence < *self.range.start() {
                break;
            }
            let mut rows = statement.query([sequence])?;
            let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            if visit(row)? == Next::End {
                break;
            }
            heads.push(row.get(7)?);
        }
        Ok(Walked::ToEnd)
    }

    /// Chains lead backwards only, so each is read one segment ahead, from mark to mark.
    fn forwards(
        &self,
        read: &Transaction<'_>,
        inside: &Inside,
        mut visit: impl FnMut(&Row<'_>) -> rusqlite::Result<Next>,
    ) -> rusqlite::Result<Walked> {
        let chains = self.chains();
        let mut segments = self.entries.clone();
        let mut heads = BinaryHeap::with_capacity(chains.len());
        for (segment, index) in segments.iter_mut().zip(0..) {
            heads.extend(segment.pop().map(|first| Reverse((first, index))));
        }
        let mut statement = one(read)?;
        while let Some(Reverse((sequence, index))) = heads.pop() {
            if sequence > *self.range.end() {
                break;
            }
            let mut rows = statement.query([sequence])?;
            let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            if visit(row)? == Next::End {
                break;
            }
            let (chain, segment): (&Chain, &mut Vec<i64>) = (&chains[index], &mut segments[index]);
            if segment.is_empty() {
                let mut back = chain.back_to(sequence);
                if !back.go(read, inside)? {
                    return Ok(Walked::OutOfTime);
                }
                *segment = back.following();
            }
            heads.extend(segment.pop().map(|next| Reverse((next, index))));
        }
        Ok(Walked::ToEnd)
    }
}

fn one<'a>(read: &'a Transaction<'_>) -> rusqlite::Result<CachedStatement<'a>> {
    read.prepare_cached(&select("e.sequence = ?1"))
}
