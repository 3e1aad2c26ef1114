//! The stream is kept small, but never at the cost of what is not applied.

use e2e::{
    System,
    event::{Event, array, event},
    wait::{eventually, holds},
};

const KIBIBYTE: usize = 1024;

/// A stream of 2 MiB that keeps 512 KiB of what was applied.
const SMALL: [&str; 4] = [
    "--stream-max-bytes",
    "2MiB",
    "--stream-keep-bytes",
    "512KiB",
];

fn large(number: u32) -> Event {
    event("orders", &number.to_string()).with_size(100 * KIBIBYTE)
}

#[tokio::test]
async fn the_stream_shrinks_to_its_budget_while_ever_more_passes_through_it() {
    let system = System::with(&SMALL).await;
    // Five times what the stream can hold.
    for number in 0..100 {
        eventually("there is room in the stream", async || {
            let answer = system.api().post(array(&[large(number)])).await;
            holds(answer.status == 200, answer.text())
        })
        .await;
    }
    let books = system.settled().await;
    assert_eq!(books.stats.unique_processed, 100);
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let state = eventually("the stream is within its budget", async || {
        let state = stream
            .get_info()
            .await
            .map_err(|err| err.to_string())?
            .state;
        // The broker purges by sequence: a part of a message may be too much.
        holds(state.bytes <= (512 + 101) * KIBIBYTE as u64, &state)?;
        Ok(state)
    })
    .await;
    assert!(
        state.messages > 0,
        "what is within the budget stays: {state:?}"
    );
}

#[tokio::test]
async fn a_full_stream_refuses_with_503_and_loses_nothing_that_is_not_applied() {
    let system = System::with(&SMALL).await;
    let lock = system.store().lock();
    let mut accepted = 0;
    let refused = loop {
        let answer = system.api().post(array(&[large(accepted)])).await;
        if answer.status != 200 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 100, "the stream is never full");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    assert!(accepted >= 15, "2 MiB hold more than {accepted}");

    // Nothing of it is applied, so nothing of it goes, though it is far beyond the budget.
    system.aggregator.unhealthy().await;
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let state = stream.get_info().await.unwrap().state;
    assert_eq!(
        (state.first_sequence, state.messages),
        (1, u64::from(accepted))
    );

    drop(lock);
    let books = system.settled().await;
    assert_eq!(books.counts(), [accepted.into(), accepted.into(), 0]);
    // And there is room again, by itself.
    eventually("there is room again", async || {
        let answer = system.api().post(array(&[large(accepted)])).await;
        holds(answer.status == 200, answer.text())
    })
    .await;
    assert_eq!(
        system.settled().await.stats.unique_processed,
        u64::from(accepted) + 1
    );
}

#[tokio::test]
async fn a_stream_that_was_trimmed_is_consumed_on_after_a_restart() {
    let mut system = System::with(&SMALL).await;
    for number in 0..12 {
        system.api().publish(&[large(number)]).await;
    }
    system.settled().await;
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    eventually("the stream is trimmed", async || {
        let state = stream
            .get_info()
            .await
            .map_err(|err| err.to_string())?
            .state;
        holds(state.first_sequence > 1, &state)
    })
    .await;
    system.aggregator.kill();
    system.aggregator.start_again().await;
    system.aggregator.healthy().await;
    system.api().publish(&[large(11), large(12)]).await;
    let books = system.settled().await;
    assert_eq!(books.counts(), [14, 13, 1]);
}
