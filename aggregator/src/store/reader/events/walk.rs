//! The way along the events: all of them in their order, or the chains of some topics at once.

use std::{collections::BinaryHeap, ops::RangeInclusive};

use rusqlite::{CachedStatement, Row, Transaction, params};

use super::{Order, select};
use crate::store::marks::Chain;

/// Whether the walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    On,
    End,
}

/// Visits the events of the chains, or all, whose sequences are in the range.
pub(super) fn walk(
    read: &Transaction<'_>,
    chains: Option<Vec<Chain>>,
    order: Order,
    range: RangeInclusive<i64>,
    mut visit: impl FnMut(&Row<'_>) -> rusqlite::Result<Step>,
) -> rusqlite::Result<()> {
    match (chains, order) {
        _ if range.is_empty() => Ok(()),
        (None, order) => {
            let sql = select(match order {
                Order::NewestFirst => "e.sequence BETWEEN ?1 AND ?2 ORDER BY e.sequence DESC",
                Order::OldestFirst => "e.sequence BETWEEN ?1 AND ?2 ORDER BY e.sequence",
            });
            let mut statement = read.prepare_cached(&sql)?;
            let mut rows = statement.query(params![range.start(), range.end()])?;
            while let Some(row) = rows.next()? {
                if visit(row)? == Step::End {
                    break;
                }
            }
            Ok(())
        }
        (Some(chains), Order::NewestFirst) => backwards(read, &chains, range, visit),
        (Some(chains), Order::OldestFirst) => forwards(read, &chains, range, visit),
    }
}

/// From event to event before it, the latest of all chains first: as many rows as are visited.
fn backwards(
    read: &Transaction<'_>,
    chains: &[Chain],
    range: RangeInclusive<i64>,
    mut visit: impl FnMut(&Row<'_>) -> rusqlite::Result<Step>,
) -> rusqlite::Result<()> {
    let mut heads = BinaryHeap::with_capacity(chains.len());
    for chain in chains {
        heads.push(if chain.last <= *range.end() {
            chain.last
        } else {
            chain.latest(read, *range.end())?
        });
    }
    let mut statement = one(read)?;
    while let Some(sequence) = heads.pop() {
        if sequence < *range.start() {
            break;
        }
        let mut rows = statement.query([sequence])?;
        let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        if visit(row)? == Step::End {
            break;
        }
        heads.push(row.get(7)?);
    }
    Ok(())
}

/// Chains lead backwards only, so each is read a piece ahead, from mark to mark.
fn forwards(
    read: &Transaction<'_>,
    chains: &[Chain],
    range: RangeInclusive<i64>,
    mut visit: impl FnMut(&Row<'_>) -> rusqlite::Result<Step>,
) -> rusqlite::Result<()> {
    let after = range.start() - 1;
    let mut pieces = Vec::with_capacity(chains.len());
    let mut heads = BinaryHeap::with_capacity(chains.len());
    for (chain, index) in chains.iter().zip(0..) {
        let mut piece = chain.following(read, after)?;
        heads.extend(piece.pop().map(|first| std::cmp::Reverse((first, index))));
        pieces.push(piece);
    }
    let mut statement = one(read)?;
    while let Some(std::cmp::Reverse((sequence, index))) = heads.pop() {
        if sequence > *range.end() {
            break;
        }
        let mut rows = statement.query([sequence])?;
        let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        if visit(row)? == Step::End {
            break;
        }
        let (chain, piece): (&Chain, &mut Vec<i64>) = (&chains[index], &mut pieces[index]);
        if piece.is_empty() {
            *piece = chain.following(read, sequence)?;
        }
        heads.extend(piece.pop().map(|next| std::cmp::Reverse((next, index))));
    }
    Ok(())
}

fn one<'a>(read: &'a Transaction<'_>) -> rusqlite::Result<CachedStatement<'a>> {
    read.prepare_cached(&select("e.sequence = ?1"))
}
