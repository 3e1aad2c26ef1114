//! Messages on the bare subject `events`, which may hold events of any topics.

use std::{collections::BTreeMap, path::Path};

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use e2e::{
    System,
    aggregator::Aggregator,
    broker::{self, Broker, process},
    event::{Event, event, events},
    port,
    publisher::{self, Publisher},
    verification::verify,
    wait::{eventually, holds},
};

/// The subject of each message of the stream, in order.
async fn subjects(broker: &Broker) -> Vec<String> {
    let jetstream = broker.jetstream().await;
    let mut stream = jetstream.get_stream("EVENTS").await.unwrap();
    let last = stream.info().await.unwrap().state.last_sequence;
    let mut subjects = Vec::new();
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await.unwrap();
        subjects.push(message.subject.to_string());
    }
    subjects
}

fn of_topics(topics: &[&str]) -> Vec<Event> {
    topics.iter().map(|topic| event(topic, "1")).collect()
}

#[tokio::test]
async fn a_request_with_events_of_many_topics_is_one_message() {
    let system = System::start().await;
    system.api().publish(&of_topics(&["a", "b", "c"])).await;
    system.api().publish(&events("d", 0..3)).await;
    let books = system.settled().await;
    assert_eq!(books.counts(), [6, 6, 0]);
    assert_eq!(subjects(&system.broker).await, ["events", "events.d"]);
    let topics = system.api().topics().await;
    let counted: BTreeMap<_, _> = topics
        .iter()
        .map(|(topic, counts)| (topic.as_str(), counts.unique_processed))
        .collect();
    let expected = BTreeMap::from([("a", 1), ("b", 1), ("c", 1), ("d", 3)]);
    assert_eq!(counted, expected);
}

#[tokio::test]
async fn each_element_of_a_mixed_message_is_judged_by_itself_and_can_be_sent_again() {
    let system = System::start().await;
    let [a, b] = ["a", "b"].map(|topic| event(topic, "1").json());
    let wrong = r#"{"topic":"c","event_id":"1"}"#;
    system
        .put("events", &format!("[{a},{wrong},{b},{a}]"))
        .await;
    system.put("events.a", &format!("[{a},{b}]")).await;
    let books = system.settled().await;
    assert_eq!(
        (books.counts(), books.stats.rejected),
        ([6, 2, 2], 2),
        "the event of topic b on the subject of topic a is rejected"
    );
    let rejected = system.api().get("/rejected").await.unwrap().json();
    let reasons: Vec<_> = rejected["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row["reason"], &row["subject"], row["position"].as_u64()))
        .collect();
    let (wrong_subject, invalid) = ("wrong_subject".into(), "invalid_event".into());
    let (on_a, mixed) = ("events.a".into(), "events".into());
    assert_eq!(
        reasons,
        [
            (&wrong_subject, &on_a, Some(1)),
            (&invalid, &mixed, Some(1))
        ]
    );
    let corrected = event("c", "1").json();
    let json = [("content-type", "application/json")];
    let requeued = system
        .api()
        .post_with("/rejected/1/requeue", &json, corrected)
        .await;
    assert_eq!(requeued.status, 200, "{}", requeued.text());
    assert_eq!(system.settled().await.counts(), [7, 3, 2]);
}

#[tokio::test]
async fn generated_and_sent_events_share_messages_and_every_count_is_exact() {
    let mut system = System::start().await;
    let (url, api) = (system.broker.url(), system.api().url().to_owned());
    let generate = [
        "generate", "--count", "5000", "--topics", "500", "--verify", &api,
    ];
    let run = publisher::publish(&url, &generate).await;
    run.succeeded();
    let subjects = subjects(&system.broker).await;
    assert!(subjects.len() < 50, "{} messages", subjects.len());
    system.aggregator.stop().await;
    verify(system.data_dir(), &["--json", "--nats-url", &url])
        .await
        .proves();
}

#[tokio::test]
async fn a_stream_of_an_earlier_version_gets_the_subject_and_keeps_its_messages() {
    let broker = Broker::start().await;
    let jetstream = broker.jetstream().await;
    let config = Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        discard: DiscardPolicy::New,
        num_replicas: 1,
        ..Config::default()
    };
    jetstream.create_stream(config).await.unwrap();
    let put = jetstream.publish("events.a", event("a", "1").json().into());
    put.await.unwrap().await.unwrap();

    // A publisher of this version waits for the aggregator of this version.
    let mut publisher = Publisher::start(&broker.url(), &["generate", "--count", "10"]);
    eventually("the publisher says what it waits for", async || {
        let log = publisher.service().log().join("\n");
        holds(
            log.contains("does not accept messages on the subject events yet"),
            log,
        )
    })
    .await;
    let data = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(&broker.url(), data.path(), &[]).await;
    aggregator.healthy().await;
    publisher.ended().await.succeeded();
    aggregator.api().publish(&of_topics(&["a", "b"])).await;
    let books = aggregator.api().settled().await;
    assert_eq!(books.stats.received, 13);
    assert_eq!(books.stats.missing, 0);
}

/// A broker whose user may not publish on `events`.
fn without_mixed_messages(program: &Path, port: u16, directory: &Path) -> process::Server {
    let own = e2e::workspace::root().join("compose/server.conf");
    let configuration = format!(
        "{}\nauthorization {{ users: [{{ user: u, password: p, permissions: {{ publish: {{ deny: [\"events\"] }} }} }}] }}\n",
        std::fs::read_to_string(own).unwrap()
    );
    let file = directory.join("nats.conf");
    std::fs::write(&file, configuration).unwrap();
    process::Server::start_program(program, port, &["--config", file.to_str().unwrap()])
}

#[tokio::test]
async fn a_user_that_may_not_publish_on_events_is_told_the_flag_and_can_publish_by_topic() {
    // A process even where the other brokers run in containers.
    let Some(program) = process::oldest() else {
        return;
    };
    let files = tempfile::tempdir().unwrap();
    let port = port::free();
    let _broker = without_mixed_messages(&program, port, files.path());
    let url = broker::url(port).replacen("//", "//u:p@", 1);
    let data = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(&url, data.path(), &["--subjects", "topic"]).await;
    aggregator.healthy().await;
    let api = aggregator.api().url().to_owned();

    let generate = ["generate", "--count", "100", "--verify", &api];
    let refused = publisher::publish(&url, &generate).await;
    assert_ne!(refused.code, Some(0), "{}", refused.stderr);
    for part in ["may not publish on events", "--subjects topic"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    let by_topic = [&generate[..], &["--subjects", "topic"]].concat();
    publisher::publish(&url, &by_topic).await.succeeded();
    aggregator.api().publish(&of_topics(&["a", "b"])).await;
    assert_eq!(aggregator.api().settled().await.stats.received, 102);

    let second = tempfile::tempdir().unwrap();
    let mixing = ["--durable", "second"];
    let mut mixing = Aggregator::start(&url, second.path(), &mixing).await;
    mixing.healthy().await;
    let events: Vec<_> = of_topics(&["a", "b"]).iter().map(Event::json).collect();
    let answer = mixing.api().post(format!("[{}]", events.join(","))).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["type"], "urn:problem:broker-refuses");
    let log = mixing.service().log().join("\n");
    assert!(log.contains("--subjects topic"), "{log}");
}
