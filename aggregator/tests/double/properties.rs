//! Whatever the broker does, the store contains what it confirmed, once, with exact counts.

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::{
    script::{self, Step},
    stage::{Settings, Stage},
};

/// The cases of each property: enough for a few seconds. `PROPTEST_CASES` sets another number.
const CASES: u32 = 40;

fn holds(scripts: impl Strategy<Value = Vec<Step>>) {
    let runtime = Runtime::new().expect("a runtime");
    let asked = std::env::var("PROPTEST_CASES").ok();
    let cases = asked.map_or(CASES, |cases| cases.parse().expect("a number of cases"));
    let config = ProptestConfig {
        max_shrink_time: 60_000,
        // A script that fails becomes a named test.
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    };
    let play =
        |settings: Settings, steps: Vec<Step>| runtime.block_on(Stage::play(settings, &steps));
    proptest!(config, |(settings in script::settings(), steps in scripts)| play(settings, steps));
}

#[test]
fn deliveries_and_acks_in_any_order_store_every_event_once() {
    holds(script::deliveries());
}

#[test]
fn connections_and_processes_that_end_lose_nothing_and_count_nothing_twice() {
    holds(script::interruptions());
}

#[test]
fn reused_sequence_numbers_hide_no_event() {
    holds(script::losses());
}

#[test]
fn failed_transactions_leave_no_trace() {
    holds(script::failures());
}

#[test]
fn all_of_these_together_keep_the_counts_exact() {
    holds(script::anything());
}
