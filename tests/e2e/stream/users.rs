//! The users of `compose/nats.conf`: what each may do, and that everything else is refused.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use async_nats::{
    Client, Event,
    jetstream::{self, consumer::pull},
};
use e2e::{
    aggregator::Aggregator,
    broker::{
        Broker,
        users::{USERS, Users},
    },
    event::events,
    load::Load,
    publisher,
    verification::verify,
    wait::{eventually, holds},
};
use futures::StreamExt;

/// What is published, and by whom it may be: aggregator, publisher, reader.
const PUBLISHED: [(&str, &str); 73] = [
    ("events", "ap"),
    ("events.orders", "ap"),
    ("events.orders.eu", "ap"),
    ("event", ""),
    ("eventss.orders", ""),
    ("unique.orders", ""),
    ("orders", ""),
    ("$JS.API.INFO", ""),
    ("$JS.API.STREAM.INFO.EVENTS", "apr"),
    ("$JS.API.STREAM.INFO.OTHER", ""),
    ("$JS.API.STREAM.NAMES", ""),
    ("$JS.API.STREAM.LIST", ""),
    ("$JS.API.STREAM.CREATE.EVENTS", "a"),
    ("$JS.API.STREAM.CREATE.OTHER", ""),
    ("$JS.API.STREAM.UPDATE.EVENTS", "a"),
    ("$JS.API.STREAM.UPDATE.OTHER", ""),
    ("$JS.API.STREAM.MSG.GET.EVENTS", "a"),
    ("$JS.API.STREAM.MSG.GET.OTHER", ""),
    ("$JS.API.STREAM.PURGE.EVENTS", "a"),
    ("$JS.API.STREAM.PURGE.OTHER", ""),
    ("$JS.API.STREAM.DELETE.EVENTS", ""),
    ("$JS.API.STREAM.MSG.DELETE.EVENTS", ""),
    ("$JS.API.STREAM.SNAPSHOT.EVENTS", ""),
    ("$JS.API.STREAM.RESTORE.EVENTS", ""),
    ("$JS.API.STREAM.PEER.REMOVE.EVENTS", ""),
    ("$JS.API.STREAM.LEADER.STEPDOWN.EVENTS", ""),
    ("$JS.API.STREAM.TEMPLATE.CREATE.EVENTS", ""),
    ("$JS.API.DIRECT.GET.EVENTS", ""),
    ("$JS.API.DIRECT.GET.EVENTS.events.orders", ""),
    ("$JS.API.META.LEADER.STEPDOWN", ""),
    ("$JS.API.SERVER.REMOVE", ""),
    ("$JS.API.ACCOUNT.PURGE.$G", ""),
    ("$JS.API.CONSUMER.LIST.EVENTS", "a"),
    ("$JS.API.CONSUMER.LIST.OTHER", ""),
    ("$JS.API.CONSUMER.NAMES.EVENTS", ""),
    ("$JS.API.CONSUMER.CREATE.EVENTS", "a"),
    ("$JS.API.CONSUMER.CREATE.OTHER", ""),
    ("$JS.API.CONSUMER.CREATE.EVENTS.aggregator", "a"),
    ("$JS.API.CONSUMER.CREATE.EVENTS.aggregator.events.a", ""),
    ("$JS.API.CONSUMER.CREATE.EVENTS.aggregator~position", "a"),
    ("$JS.API.CONSUMER.CREATE.EVENTS.reader", "r"),
    ("$JS.API.CONSUMER.CREATE.EVENTS.reader.events.a", "r"),
    ("$JS.API.CONSUMER.CREATE.EVENTS.another", ""),
    ("$JS.API.CONSUMER.DURABLE.CREATE.EVENTS.aggregator", ""),
    ("$JS.API.CONSUMER.DURABLE.CREATE.EVENTS.reader", "r"),
    ("$JS.API.CONSUMER.INFO.EVENTS.aggregator", "a"),
    ("$JS.API.CONSUMER.INFO.EVENTS.reader", "ar"),
    ("$JS.API.CONSUMER.INFO.OTHER.reader", ""),
    ("$JS.API.CONSUMER.MSG.NEXT.EVENTS.aggregator", "a"),
    ("$JS.API.CONSUMER.MSG.NEXT.EVENTS.reader", "r"),
    ("$JS.API.CONSUMER.MSG.NEXT.EVENTS.temporary", "a"),
    ("$JS.API.CONSUMER.MSG.NEXT.OTHER.aggregator", ""),
    ("$JS.API.CONSUMER.PAUSE.EVENTS.aggregator", ""),
    ("$JS.API.CONSUMER.PAUSE.EVENTS.reader", ""),
    ("$JS.API.CONSUMER.RESET.EVENTS.aggregator", ""),
    ("$JS.API.CONSUMER.UNPIN.EVENTS.aggregator", ""),
    ("$JS.API.CONSUMER.LEADER.STEPDOWN.EVENTS.aggregator", ""),
    ("$JS.API.CONSUMER.DELETE.EVENTS.aggregator", "a"),
    ("$JS.API.CONSUMER.DELETE.EVENTS.aggregator~position", "a"),
    ("$JS.API.CONSUMER.DELETE.EVENTS.reader", "r"),
    ("$JS.API.CONSUMER.DELETE.EVENTS.another", ""),
    ("$JS.ACK.EVENTS.aggregator.1.1.1.1.0", "a"),
    ("$JS.ACK.EVENTS.aggregator~position.1.1.1.1.0", ""),
    ("$JS.ACK.EVENTS.reader.1.1.1.1.0", "r"),
    ("$JS.ACK.EVENTS.another.1.1.1.1.0", ""),
    ("$JS.ACK.OTHER.aggregator.1.1.1.1.0", ""),
    ("$JS.FC.EVENTS.aggregator.x", ""),
    ("$SYS.REQ.SERVER.PING", ""),
    ("$SYS.REQ.USER.INFO", ""),
    ("_INBOX.x", ""),
    ("_INBOX_aggregator.x", ""),
    ("_INBOX_publisher.x", ""),
    ("_INBOX_reader.x", ""),
];

/// What is subscribed to, and by whom it may be.
const SUBSCRIBED: [(&str, &str); 16] = [
    ("_INBOX_aggregator.>", "a"),
    ("_INBOX_aggregator.x.*", "a"),
    ("_INBOX_publisher.>", "p"),
    ("_INBOX_publisher.x", "p"),
    ("_INBOX_reader.>", "r"),
    ("_INBOX_reader.x", "r"),
    ("_INBOX.>", ""),
    ("_INBOX.x", ""),
    (">", ""),
    ("*", ""),
    ("*.>", ""),
    ("events", ""),
    ("events.>", ""),
    ("$JS.>", ""),
    ("$JS.EVENT.ADVISORY.>", ""),
    ("$SYS.>", ""),
];

/// The refusals that a client has received, in order.
type Refusals = Arc<Mutex<Vec<String>>>;

async fn client(broker: &Broker, user: &str) -> (Client, Refusals) {
    let refused = Refusals::default();
    let sink = Arc::clone(&refused);
    let options = broker.users().options(user).event_callback(move |event| {
        if let Event::ServerError(err) = event {
            sink.lock().unwrap().push(err.to_string());
        }
        std::future::ready(())
    });
    (options.connect(broker.url()).await.unwrap(), refused)
}

/// Whether the client was refused something since its last marker. The broker handles what a client sends in order, and nobody
/// may publish on the marker: once its refusal has arrived, so have all others.
async fn is_refused(client: &Client, refused: &Refusals) -> bool {
    const MARKER: &str = "nobody.may";
    client.publish(MARKER, "".into()).await.unwrap();
    eventually("the marker is refused", async || {
        let refused = refused.lock().unwrap();
        holds(refused.iter().any(|err| err.contains(MARKER)), &*refused)
    })
    .await;
    let refused: Vec<_> = refused.lock().unwrap().drain(..).collect();
    let others = refused.iter().filter(|err| !err.contains(MARKER)).count();
    assert!(others <= 1, "{refused:?}");
    others > 0
}

#[tokio::test]
async fn each_user_may_do_what_is_listed_and_nothing_else() {
    let broker = Broker::with_users(Users::new()).await;
    let mut wrong = Vec::new();
    for user in USERS {
        let (client, refused) = client(&broker, user).await;
        let mut judge = async |what: &str, subject: &str, by: &str| {
            let is_permitted = by.contains(&user[..1]);
            if is_refused(&client, &refused).await == is_permitted {
                wrong.push(format!("{user} {what} {subject}"));
            }
        };
        let inbox = format!("_INBOX_{user}.own");
        for (subject, by) in PUBLISHED {
            let (reply, body) = (inbox.clone(), "[]".into());
            let sent = client.publish_with_reply(subject, reply, body);
            sent.await.unwrap();
            judge("publishes on", subject, by).await;
        }
        for (subject, by) in SUBSCRIBED {
            let _subscription = client.subscribe(subject).await.unwrap();
            judge("subscribes to", subject, by).await;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A subject that is permitted and not tried would be a hole in the matrix.
#[test]
fn every_subject_of_the_configuration_is_tried() {
    let file = e2e::workspace::root().join("compose/nats.conf");
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| !line.trim().starts_with('#'));
    let lines = lines.filter(|line| !line.starts_with("include"));
    let mut patterns = Vec::new();
    for line in lines {
        patterns.extend(line.split('"').skip(1).step_by(2));
    }
    assert!(patterns.len() > 20, "{patterns:?}");
    let tried = PUBLISHED.iter().chain(&SUBSCRIBED);
    let tried: Vec<_> = tried.map(|(subject, _)| *subject).collect();
    for pattern in patterns {
        let is_tried = tried.iter().any(|subject| covers(pattern, subject));
        assert!(is_tried, "{pattern}");
    }
}

/// Whether a pattern with `*` and `>` covers a subject.
fn covers(pattern: &str, subject: &str) -> bool {
    let mut subject = subject.split('.');
    for token in pattern.split('.') {
        match (token, subject.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (token, Some(other)) if token == other => {}
            _ => return false,
        }
    }
    subject.next().is_none()
}

#[tokio::test]
async fn the_programs_do_all_their_work_as_their_users() {
    let broker = Broker::with_users(Users::new()).await;
    let data = tempfile::tempdir().unwrap();
    let url = broker.login("aggregator");
    // It keeps nothing, so that it trims, and reads the sizes of messages to do so.
    let flags = ["--stream-keep-bytes", "4MiB", "--stream-max-bytes", "64MiB"];
    let mut aggregator = Aggregator::start(&url, data.path(), &flags).await;
    aggregator.healthy().await;
    let api = aggregator.api().url().to_owned();
    let generate = [
        "generate", "--count", "50000", "--batch", "50", "--verify", &api,
    ];
    let sent = publisher::publish(&broker.login("publisher"), &generate).await;
    sent.succeeded();
    aggregator.api().publish(&events("http", 0..10)).await;
    let books = aggregator.api().settled().await;
    assert_eq!(books.stats.received, 50_010);
    let jetstream = broker.jetstream().await;
    eventually("the stream is trimmed", async || {
        let stream = jetstream.get_stream("EVENTS").await;
        let state = stream
            .map_err(|err| err.to_string())?
            .cached_info()
            .state
            .clone();
        holds(state.bytes <= 4 << 20 && state.first_sequence > 1, state)
    })
    .await;
    verify(data.path(), &["--json", "--nats-url", &url])
        .await
        .proves();
    let doctor = ["doctor", "--url", &api, "--nats-url", &url];
    let examined = aggregator.command(&doctor).await;
    assert_eq!(examined.code, Some(0), "{}", examined.stdout);

    // After a restart it finds deliveries of the ended process, and creates the durable again.
    aggregator.kill();
    aggregator.start_again().await;
    aggregator.healthy().await;
    aggregator.api().publish(&events("again", 0..10)).await;
    assert_eq!(aggregator.api().settled().await.stats.received, 50_020);
    let log = aggregator.service().log().join("\n");
    for refused in [&log, &sent.stderr] {
        assert!(!refused.contains("does not permit"), "{refused}");
    }
}

#[tokio::test]
async fn the_reader_consumes_with_a_durable_of_its_own() {
    let broker = Broker::with_users(Users::new()).await;
    let data = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(&broker.login("aggregator"), data.path(), &[]).await;
    aggregator.healthy().await;
    aggregator.api().publish(&events("orders", 0..10)).await;

    let (client, refused) = client(&broker, "reader").await;
    let jetstream = jetstream::new(client.clone());
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    let config = pull::Config {
        durable_name: Some("reader".to_owned()),
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let message = messages.next().await.unwrap().unwrap();
    assert_eq!(message.subject.as_str(), "events.orders");
    message.ack().await.unwrap();
    eventually("the ack has arrived", async || {
        let info = stream.consumer_info("reader").await;
        let info = info.map_err(|err| err.to_string())?;
        holds(info.ack_floor.stream_sequence == 1, info)
    })
    .await;
    assert!(!is_refused(&client, &refused).await);
    assert_eq!(aggregator.api().settled().await.stats.received, 10);
}

/// A new password needs no restart: the broker and the clients read it from their files.
#[tokio::test]
async fn a_password_is_replaced_while_everything_runs() {
    let mut broker = Broker::with_users(Users::new()).await;
    let data = tempfile::tempdir().unwrap();
    let url = broker.url().replacen("//", "//aggregator@", 1);
    let file = broker.users().password_file("aggregator");
    let old = broker.login("aggregator");
    let flags = ["--nats-password-file", file.to_str().unwrap()];
    let mut aggregator = Aggregator::start(&url, data.path(), &flags).await;
    aggregator.healthy().await;
    let api = aggregator.api().url().to_owned();
    let generate = [
        "generate", "--count", "0", "--rate", "500", "--verify", &api,
    ];
    let sending = publisher::Publisher::start(&broker.login("publisher"), &generate);
    let mut load = Load::default();
    for topic in ["http-a", "http-b", "http-c", "http-d"] {
        load.publishes(aggregator.api(), topic);
    }
    load.answers(50).await;
    aggregator.api().received_at_least(500).await;

    broker.users().replace("aggregator");
    broker.reload().await;
    eventually("the aggregator has logged in again", async || {
        let log = aggregator.service().log().join("\n");
        holds(log.matches("connected to the broker").count() == 2, log)
    })
    .await;
    aggregator.healthy().await;
    let received = aggregator.api().stats().await.unwrap().received;
    aggregator.api().received_at_least(received + 500).await;
    load.answers(50).await;
    let published = load.ended().await;
    let run = sending.finished().await;
    run.succeeded();
    let stats = aggregator.api().settled().await.stats;
    assert_eq!(stats.received, published + run.count("sent"));

    let other = tempfile::tempdir().unwrap();
    let refused = Aggregator::start(&old, other.path(), &[]).await;
    let health = refused.unhealthy().await;
    let said = health["checks"].to_string();
    assert!(said.contains("broker"), "{said}");
    let log = aggregator.service().log().join("\n");
    let password = fs::read_to_string(file).unwrap();
    assert!(!log.contains(&password), "{log}");
}
