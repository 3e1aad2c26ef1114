//! A trace follows an event from its request or publisher through both services to the commit.

use async_nats::jetstream::message::StreamMessage;
use e2e::{
    System,
    api::Api,
    collector::{Collector, Span},
    event::{array, events},
    port,
    service::Signal,
    wait::{DEADLINE, eventually, holds},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn parent() -> String {
    format!("00-{TRACE}-{CALLER}-01")
}

async fn publish(api: &Api, headers: &[(&str, &str)], topic: &str) {
    let mut headers = headers.to_vec();
    headers.push(("content-type", "application/json"));
    let body = array(&events(topic, 0..3));
    let answer = api.post_with("/publish", &headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn one(spans: &[Span], name: &str) -> Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    match (found.next(), found.next()) {
        (Some(span), None) => span.clone(),
        _ => panic!("there is not one {name} in {spans:#?}"),
    }
}

#[tokio::test]
async fn one_trace_leads_from_the_http_request_to_the_commit() {
    let collector = Collector::start().await;
    let mut system = System::with(&["--otlp-endpoint", collector.url()]).await;
    let headers = [("traceparent", &*parent()), ("x-request-id", "mine")];
    publish(system.api(), &headers, "orders").await;
    system.settled().await;
    // Spans that have not been exported are exported at shutdown.
    assert_eq!(system.aggregator.stop().await.code, Some(0));

    let mut traced = collector.spans();
    traced.retain(|span| span.trace == TRACE);
    assert_eq!(traced.len(), 3, "{traced:#?}");
    assert!(traced.iter().all(|span| span.service == "aggregator"));
    let request = one(&traced, "POST /publish");
    assert_eq!(request.parent, CALLER);
    assert_eq!(request.attributes["request.id"], "mine");
    assert_eq!(request.attributes["http.response.status_code"], "200");
    let message = one(&traced, "send EVENTS");
    assert_eq!(message.parent, request.id);
    assert_eq!(message.attributes["event.topic"], "orders");
    assert_eq!(message.attributes["message.events"], "3");
    assert_eq!(message.attributes["stream.sequence"], "1");
    let delivery = one(&traced, "process EVENTS");
    assert_eq!(delivery.parent, message.id);
    assert_eq!(delivery.attributes["stream.sequence"], "1");
    // The transaction has its own trace, because it is shared with other messages.
    let batches = collector.named("append");
    let batch = one(&batches, "append");
    assert_ne!(batch.trace, TRACE);
    assert_eq!(batch.attributes["batch.unique"], "3");
    assert_eq!(delivery.links, [batch.id]);
    assert_eq!(batch.links, [delivery.id]);
}

#[tokio::test]
async fn one_trace_leads_from_the_publishers_message_to_the_commit() {
    let collector = Collector::start().await;
    let export = ["--otlp-endpoint", collector.url()];
    let mut system = System::with(&export).await;
    let arguments = [
        "generate", "--count", "100", "--topics", "4", "--batch", "10",
    ];
    let run = system.publish(&[&arguments[..], &export].concat()).await;
    run.succeeded();
    system.settled().await;
    assert_eq!(system.aggregator.stop().await.code, Some(0));

    let sent = collector.named("send EVENTS");
    let delivered = collector.named("process EVENTS");
    let messages = system
        .store()
        .number("SELECT sum(last - first + 1) FROM applied");
    let messages = usize::try_from(messages).unwrap();
    assert!(messages >= 10, "{messages}");
    assert_eq!((sent.len(), delivered.len()), (messages, messages));
    for message in sent {
        assert_eq!((&*message.service, &*message.parent), ("publisher", ""));
        let of_it = delivered.iter().filter(|span| span.trace == message.trace);
        let of_it: Vec<_> = of_it.collect();
        let [delivery] = of_it.as_slice() else {
            panic!("{message:?}: {of_it:?}")
        };
        assert_eq!(delivery.service, "aggregator");
        assert_eq!(delivery.parent, message.id);
        let name = "stream.sequence";
        assert_eq!(delivery.attributes[name], message.attributes[name]);
    }
}

async fn stored(system: &System, sequence: u64) -> StreamMessage {
    let jetstream = system.broker.jetstream().await;
    let stream = jetstream.get_stream("EVENTS").await.unwrap();
    stream.get_raw_message(sequence).await.unwrap()
}

#[tokio::test]
async fn without_export_a_senders_context_is_passed_on_and_no_new_one_is_created() {
    let system = System::start().await;
    let (parent, state) = (&*parent(), "vendor=opaque");
    let headers = [("traceparent", parent), ("tracestate", state)];
    publish(system.api(), &headers, "orders").await;
    publish(system.api(), &[], "orders").await;
    let with = stored(&system, 1).await.headers;
    assert_eq!(with.get("traceparent").unwrap().as_str(), parent);
    assert_eq!(with.get("tracestate").unwrap().as_str(), state);
    let without = stored(&system, 2).await.headers;
    assert_eq!(without.get("traceparent"), None);
    assert_eq!(without.len(), 1, "an id and nothing else: {without:?}");
}

#[tokio::test]
async fn an_unreachable_endpoint_costs_only_a_log_line() {
    let nowhere = format!("http://127.0.0.1:{}", port::free());
    let mut system = System::with(&["--otlp-endpoint", &nowhere]).await;
    publish(system.api(), &[], "orders").await;
    assert_eq!(system.settled().await.counts(), [3, 3, 0]);
    let service = system.aggregator.service();
    let is_said = |log: &[String]| {
        let lines = log.iter();
        lines
            .filter(|line| line.contains("spans cannot be exported"))
            .count()
    };
    eventually("it is logged", async || {
        holds(is_said(&service.log()) > 0, ())
    })
    .await;
    publish(&system.api().clone(), &[], "more").await;
    let service = system.aggregator.service();
    service.signal(Signal::TERM);
    let ended = service.ended(DEADLINE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines: Vec<_> = ended.stderr.lines().map(str::to_owned).collect();
    assert_eq!(is_said(&lines), 1, "{}", ended.stderr);
}
