//! Pages of topics with their counts, added up over the writers.

use std::pin::pin;

use deadpool_postgres::Client;
use futures::TryStreamExt;
use tokio_postgres::types::ToSql;

use super::{Budget, SCAN_ROWS, text};
use crate::store::{
    StoreError,
    postgres::lives::{signed, unsigned},
    query::{TopicCounts, TopicPage, TopicQuery, TopicSort},
};

/// The number of topics, of which each has as many rows as writers. Much faster than `count(DISTINCT topic)`, which sorts all of them.
pub(super) const NUMBER: &str = "SELECT count(*) FROM (SELECT topic FROM topics GROUP BY topic) t";

/// A page of topics. In order of name it reads about as many as it returns; in other orders the database adds up and sorts all of them.
/// Names that must contain a text, or match patterns, are read until enough are found.
pub(super) async fn page(
    client: &Client,
    query: &TopicQuery,
    limit: usize,
) -> Result<TopicPage, StoreError> {
    let direction = if query.is_descending { "DESC" } else { "ASC" };
    let key = match query.sort {
        TopicSort::Name => "topic",
        TopicSort::Received => "sum(unique_processed + duplicate_dropped)",
        TopicSort::Unique => "sum(unique_processed)",
        TopicSort::Duplicates => "sum(duplicate_dropped)",
        TopicSort::DuplicateShare => {
            "sum(duplicate_dropped)::numeric / greatest(sum(unique_processed + duplicate_dropped), 1)"
        }
        TopicSort::First => "min(first_at)",
        TopicSort::Last => "max(last_at)",
    };
    // In other orders a page cannot continue after a name: the database has sorted all topics anyway.
    let is_by_name = query.sort == TopicSort::Name;
    let within = if query.is_descending {
        "topic < $2"
    } else {
        "topic > $2"
    };
    let sql = format!(
        "SELECT topic, sum(unique_processed)::bigint, sum(duplicate_dropped)::bigint, min(first_at), max(last_at) FROM topics \
         WHERE ($1::bytea IS NULL OR topic = $1) AND ($2::bytea IS NULL OR {within}) \
         GROUP BY topic ORDER BY {key} {direction}, topic LIMIT $3"
    );
    let statement = client.prepare_cached(&sql).await?;
    let contains = query.contains.to_ascii_lowercase();
    let is_filtered = !contains.is_empty() || !query.visible.is_every();
    let mut page = TopicPage {
        topics: Vec::new(),
        // Before the rows: on one connection no other answer comes while they are unread.
        total: total(client, query).await?,
        next: None,
        is_partial: false,
    };
    let mut budget = Budget::of(is_filtered);
    let mut last: Option<String> = None;
    let name = query.name.as_deref().map(str::as_bytes);
    let mut after = query
        .after
        .as_deref()
        .map(|after| after.as_bytes().to_vec());
    loop {
        let limit_of_rows = match (is_by_name, is_filtered) {
            (true, _) => budget.rows_at_once(limit - page.topics.len()),
            (false, true) => signed(SCAN_ROWS + 1),
            (false, false) => signed(limit as u64).saturating_add(1),
        };
        let parameters: [&(dyn ToSql + Sync); 3] = [&name, &after, &limit_of_rows];
        let rows = client.query_raw(&statement, parameters).await?;
        let mut rows = pin!(rows);
        let mut read = 0;
        while let Some(row) = rows.try_next().await? {
            read += 1;
            let is_full = page.topics.len() >= limit;
            // A page ends at a name that the client may see.
            if is_full || !budget.spend() && last.is_some() {
                page.is_partial = !is_full;
                page.next = last.filter(|_| query.is_paged());
                return Ok(page);
            }
            let topic = text(row.get(0))?;
            after = Some(topic.clone().into_bytes());
            let is_match = topic.to_ascii_lowercase().contains(&contains);
            if is_match && query.visible.includes(&topic) {
                let (unique_processed, duplicate_dropped) =
                    (unsigned(row.get(1)), unsigned(row.get(2)));
                last = Some(topic.clone());
                page.topics.push(TopicCounts {
                    name: topic,
                    received: unique_processed + duplicate_dropped,
                    unique_processed,
                    duplicate_dropped,
                    first_at: row.get(3),
                    last_at: row.get(4),
                    // Read when the page is complete.
                    recent: Vec::new(),
                });
            } else if query.visible.includes(&topic) {
                // A client must not see the name of another one.
                last = Some(topic);
            }
        }
        if read < limit_of_rows || !is_by_name {
            return Ok(page);
        }
    }
}

/// The number of visible topics; `None` if they would have to be counted for a single topic, or could not be counted in time.
async fn total(client: &Client, query: &TopicQuery) -> Result<Option<u64>, StoreError> {
    if query.visible.is_every() {
        let row = client.query_one(NUMBER, &[]);
        return Ok(Some(unsigned(row.await?.get(0))));
    }
    if query.name.is_some() {
        return Ok(None);
    }
    let none: [&(dyn ToSql + Sync); 0] = [];
    let names = client.query_raw("SELECT DISTINCT topic FROM topics", none);
    let mut names = pin!(names.await?);
    let (mut total, mut budget) = (0, Budget::of(true));
    while let Some(row) = names.try_next().await? {
        if !budget.spend() {
            return Ok(None);
        }
        total += u64::from(query.visible.includes(&text(row.get(0))?));
    }
    Ok(Some(total))
}
