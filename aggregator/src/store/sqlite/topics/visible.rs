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

    /// The topics of patterns; `None` if there are more than `most`, or too many names to find them.
    pub fn visible(
        &self,
        patterns: &Patterns,
        most: usize,
    ) -> rusqlite::Result<Option<Vec<TopicState>>> {
        let (mut ids, mut names) = (Vec::new(), 0);
        self.spanned(patterns, "", |named| {
            names += 1;
            if named.is_visible {
                ids.push(named.id);
            }
            Ok(names <= NAMES && ids.len() <= most)
        })?;
        if names > NAMES || ids.len() > most {
            return Ok(None);
        }
        let states = ids.into_iter().map(|id| self.state(id));
        let states: Vec<_> = states.collect::<Result<_, _>>()?;
        Ok(Some(states.into_iter().flatten().collect()))
    }

    /// The number of topics of patterns: at least that many, if there is no time to read all names.
    pub fn count(&self, patterns: &Patterns, inside: &Inside) -> rusqlite::Result<u64> {
        let mut count = 0;
        self.spanned(patterns, "", |named| {
            count += u64::from(named.is_visible);
            Ok(inside.has_time())
        })?;
        Ok(count)
    }
}

/// Those of some topics, by their ids, that are among those of patterns.
pub(in crate::store) fn among(
    read: &Connection,
    patterns: &Patterns,
    ids: HashSet<i64>,
) -> rusqlite::Result<HashSet<i64>> {
    let topics = StoredTopics::open(read)?;
    let mut visible = HashSet::new();
    for id in ids {
        if topics
            .name(id)?
            .is_some_and(|name| patterns.includes(&name))
        {
            visible.insert(id);
        }
    }
    Ok(visible)
}
