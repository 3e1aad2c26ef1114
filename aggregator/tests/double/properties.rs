//! Whatever the broker does, the store holds what it confirmed, once, and counts it right.

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::{
    script::{self, Step},
    stage::{Settings, Stage},
};

/// The cases of each property: as many as take some seconds.
const CASES: u32 = 24;

fn holds(cases: u32, scripts: impl Strategy<Value = Vec<Step>>) {
    let runtime = Runtime::new().expect("a runtime");
    let config = ProptestConfig {
        max_shrink_time: 120_000,
        ..ProptestConfig::with_cases(cases)
    };
    let play =
        |settings: Settings, steps: Vec<Step>| runtime.block_on(Stage::play(settings, &steps));
    proptest!(config, |(settings in script::settings(), steps in scripts)| play(settings, steps));
}

#[test]
fn deliveries_and_acks_in_any_order_store_every_event_once() {
    holds(CASES, script::deliveries());
}

#[test]
fn connections_and_processes_that_end_lose_nothing_and_count_nothing_twice() {
    holds(CASES, script::interruptions());
}

#[test]
fn sequence_numbers_given_out_again_hide_no_event() {
    holds(CASES, script::losses());
}

#[test]
fn failed_transactions_leave_no_trace() {
    holds(CASES, script::failures());
}

#[test]
fn all_of_it_together_keeps_the_books() {
    holds(CASES, script::anything());
}
