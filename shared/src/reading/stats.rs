//! `stats`: the counters, and whether their sum is exact.

use std::fmt::Write;

use indicatif::{HumanCount, HumanDuration};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::AsyncWrite;

use super::{Format, document, output::Output};
use crate::api::{Api, ApiError};

/// The members of `GET /stats` that the table shows.
#[derive(Debug, Deserialize)]
struct Counters {
    received: u64,
    unique_processed: u64,
    duplicate_dropped: u64,
    rejected: u64,
    consistent: bool,
    conflicts: u64,
    redelivered: u64,
    pending: Option<u64>,
    missing: u64,
    topics_total: u64,
    uptime_seconds: u64,
}

/// Prints the counters.
///
/// # Errors
/// If there is no answer.
pub async fn stats(
    api: &Api,
    format: Format,
    output: &mut Output<impl AsyncWrite + Unpin>,
) -> anyhow::Result<()> {
    let query: &[(&str, &str)] = match format {
        Format::Table => &[("topics", "false")],
        Format::Json | Format::Pretty => &[],
    };
    let url = api.url("stats", query);
    let body = api.read(url.clone()).await?;
    let unexpected = |err| ApiError::not_an_aggregator(&url, format!("an unexpected body ({err})"));
    if format == Format::Table {
        let counters = serde_json::from_slice::<Counters>(&body).map_err(unexpected)?;
        output.text().extend(counters.table().into_bytes());
        return Ok(output.flush().await?);
    }
    let stats: &RawValue = serde_json::from_slice(&body).map_err(unexpected)?;
    Ok(document(stats.get(), format, output).await?)
}

impl Counters {
    fn table(&self) -> String {
        let pending = match self.pending {
            Some(pending) => HumanCount(pending).to_string(),
            None => "unknown: the broker cannot be reached".to_owned(),
        };
        let sum = if self.consistent {
            "received = unique_processed + duplicate_dropped + rejected: exact"
        } else {
            "received is not unique_processed + duplicate_dropped + rejected: run aggregator verify"
        };
        let count = |count: u64| HumanCount(count).to_string();
        let counts = [
            ("received", count(self.received)),
            ("unique_processed", count(self.unique_processed)),
            ("duplicate_dropped", count(self.duplicate_dropped)),
            ("rejected", count(self.rejected)),
            ("conflicts", count(self.conflicts)),
            ("redelivered", count(self.redelivered)),
            ("pending", pending),
            ("missing", count(self.missing)),
            ("topics", count(self.topics_total)),
        ];
        let is_number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let numbers = counts.iter().filter(|(_, count)| is_number(count));
        let width = numbers.map(|(_, count)| count.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, count) in &counts {
            let _ = writeln!(text, "{name:<17}  {count:>width$}");
        }
        let up = HumanDuration(std::time::Duration::from_secs(self.uptime_seconds));
        let _ = writeln!(text, "{sum}\nrunning for {up}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(consistent: bool, pending: &str) -> Counters {
        let json = format!(
            r#"{{"received":20003,"unique_processed":14002,"duplicate_dropped":6000,"rejected":1,"consistent":{consistent},
            "conflicts":0,"redelivered":7,"pending":{pending},"missing":0,"topics_total":12,"uptime_seconds":7200,"later":1}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn the_counters_are_aligned_and_their_sum_is_judged() {
        assert_eq!(
            counters(true, "3").table(),
            "received           20,003\n\
             unique_processed   14,002\n\
             duplicate_dropped   6,000\n\
             rejected                1\n\
             conflicts               0\n\
             redelivered             7\n\
             pending                 3\n\
             missing                 0\n\
             topics                 12\n\
             received = unique_processed + duplicate_dropped + rejected: exact\n\
             running for 2 hours\n"
        );
        let wrong = counters(false, "null").table();
        assert!(
            wrong.contains("received is not unique_processed"),
            "{wrong}"
        );
        assert!(
            wrong.contains("pending            unknown: the broker"),
            "{wrong}"
        );
    }
}
