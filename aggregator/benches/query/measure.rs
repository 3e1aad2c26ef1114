//! Measures how long requests take, one after the other.

use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{api::Api, requests::Request};

/// Requests before measuring: connections are opened and statements prepared.
const WARM_UP: usize = 20;

/// The durations of a kind of request.
#[derive(Debug, Serialize)]
pub struct Timing {
    /// The kind of request.
    pub request: &'static str,
    /// Events appended per second meanwhile.
    pub appended_rate: u32,
    /// The number of requests.
    pub requests: u64,
    /// The median.
    pub p50_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// The longest.
    pub longest_ms: f64,
}

/// Sends requests of a kind for at least this long.
pub async fn measure(api: &Api, request: &Request, least: Duration) -> anyhow::Result<Timing> {
    let mut paths = request.paths.iter().cycle();
    for path in paths.by_ref().take(WARM_UP) {
        api.get(path).await?;
    }
    let mut micros: Histogram<u64> = Histogram::new(3)?;
    let began = Instant::now();
    for path in paths {
        let sent = Instant::now();
        api.get(path).await?;
        micros += u64::try_from(sent.elapsed().as_micros())?;
        if micros.len() >= request.least && began.elapsed() >= least {
            break;
        }
    }
    let ms = |micros| Duration::from_micros(micros).as_secs_f64() * 1e3;
    Ok(Timing {
        request: request.name,
        appended_rate: 0,
        requests: micros.len(),
        p50_ms: ms(micros.value_at_quantile(0.5)),
        p99_ms: ms(micros.value_at_quantile(0.99)),
        longest_ms: ms(micros.max()),
    })
}

/// All measurements as a table.
pub fn table(timings: &[Timing]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([
        "request",
        "appended events/s",
        "requests",
        "p50 ms",
        "p99 ms",
        "longest ms",
    ]);
    for timing in timings {
        table.add_row([
            timing.request.to_owned(),
            timing.appended_rate.to_string(),
            timing.requests.to_string(),
            format!("{:.2}", timing.p50_ms),
            format!("{:.2}", timing.p99_ms),
            format!("{:.2}", timing.longest_ms),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
