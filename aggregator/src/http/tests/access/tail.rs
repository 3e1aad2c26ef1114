//! What a tail shows of the places of events that a token may not read.

use super::{scopes::event_of, *};

/// The first event of a tail.
async fn start(api: &Fixture, keys: &Keys, name: &str) -> String {
    let request =
        Request::get("/events/tail").header(header::AUTHORIZATION, keys.header(name, false));
    let request = request.body(Body::empty()).unwrap();
    let answer = api.router.clone().oneshot(request).await.unwrap();
    let frame = answer.into_body().frame().await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_tail_starts_with_the_place_of_the_last_event_that_may_be_read() {
    let (api, keys) = guarded().await;
    let none = start(&api, &keys, "pattern").await;
    assert!(none.contains("id: 0\n"), "{none}");
    let topics = ["secret", "orders.eu", "orders.us", "secret", "secret"];
    let messages = topics.into_iter().zip(1..).map(|(topic, id)| {
        (
            format!("events.{topic}"),
            event_of(topic, &format!("{id}"), 0),
        )
    });
    api.append_on(messages.collect()).await;
    for (name, id) in [("reader", 5), ("pattern", 3), ("one", 2)] {
        let start = start(&api, &keys, name).await;
        assert!(start.contains(&format!("id: {id}\n")), "{name}: {start}");
    }
}
