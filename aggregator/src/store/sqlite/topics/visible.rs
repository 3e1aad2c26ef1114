//! The topics of patterns, found by their names.

use std::collections::HashSet;

use rusqlite::Connection;

use super::{StoredTopics, TopicState, decode_id};
use crate::{
    access::{Patterns, Span},
    store::sqlite::gate::Inside,
};

/// Topics of patterns that are looked up one by one. With more, rows are read and tested.
pub(in crate::store) const TOPICS: usize = if cfg!(test) { 3 } else { 4_000 };

/// Names that are read to find them.
const NAMES: usize = if cfg!(test) { 12 } else { 50_000 };

/// A name among those in which the topics of patterns are found.
pub(in crate::store) struct Named<'a> {
    pub name: &'a str,
    pub id: i64,
    /// Whether it is one of them.
    pub is_visible: bool,
}

impl StoredTopics<'_> {
    /// Calls `each` for the names, in order, among which those of patterns are found, after another name, until it returns that it
    /// wants no more.
    pub fn spanned(
        &self,
        patterns: &Patterns,
        after: &str,
        mut each: impl FnMut(Named<'_>) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<()> {
        for span in patterns.spans() {
            let beginning = match &span {
                Span::One(name) => {
                    if name.as_str() > after
                        && let Some(id) = self.names.get(name.as_bytes())?
                    {
                        let id = decode_id(&id)?;
                        if !each(Named {
                            name,
                            id,
                            is_visible: true,
                        })? {
                            return Ok(());
                        }
                    }
                    continue;
                }
                Span::Beginning(text) => text.as_str(),
            };
            let mut is_ended = false;
            let mut from = after.as_bytes().to_vec();
            // The next larger one.
            from.push(0);
            let from = from.max(beginning.as_bytes().to_vec());
            self.names_from(&from, |name, id| {
                if !name.starts_with(beginning) {
                    return Ok(false);
                }
                let is_visible = patterns.includes(name);
                let goes_on = each(Named {
                    name,
                    id,
                    is_visible,
                })?;
                is_ended = !goes_on;
                Ok(goes_on)
            })?;
            if is_ended {
                break;
            }
        }
        Ok(())
    }

    /// The topics of patterns; `None` if there are more than [`TOPICS`], too many names to find them, or no time for all of them.
    pub fn visible(
        &self,
        patterns: &Patterns,
        inside: &Inside,
    ) -> rusqlite::Result<Option<Vec<TopicState>>> {
        let (mut ids, mut names, mut is_whole) = (Vec::new(), 0, true);
        self.spanned(patterns, "", |named| {
            names += 1;
            if named.is_visible {
                ids.push(named.id);
            }
            is_whole = names <= NAMES && ids.len() <= TOPICS && inside.has_time();
            Ok(is_whole)
        })?;
        if !is_whole {
            return Ok(None);
        }
        let mut states = Vec::with_capacity(ids.len());
        for id in ids {
            if !inside.has_time() {
                return Ok(None);
            }
            states.extend(self.state(id)?);
        }
        Ok(Some(states))
    }
}

/// Some topics, by their ids, of which those of patterns are kept.
#[derive(Debug)]
pub(in crate::store) struct Among {
    left: Vec<i64>,
    kept: HashSet<i64>,
}

impl Among {
    pub fn new(ids: HashSet<i64>) -> Self {
        Self {
            left: ids.into_iter().collect(),
            kept: HashSet::new(),
        }
    }

    /// Continues, which may take several transactions, because a topic keeps its name; returns those kept when all have been
    /// looked up.
    pub fn go(
        &mut self,
        read: &Connection,
        patterns: &Patterns,
        inside: &Inside,
    ) -> rusqlite::Result<Option<HashSet<i64>>> {
        let topics = StoredTopics::open(read)?;
        while let Some(id) = self.left.last().copied() {
            if !inside.has_time() {
                return Ok(None);
            }
            let name = topics.name(id)?;
            if name.is_some_and(|name| patterns.includes(&name)) {
                self.kept.insert(id);
            }
            self.left.pop();
        }
        Ok(Some(std::mem::take(&mut self.kept)))
    }
}
