//! Log records as events. The message types are checked against those of the crate `opentelemetry-proto`, which is generated
//! from OTLP's own definitions.

mod limits;
mod reading;

use bytes::Bytes;
use insta::assert_snapshot;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;
use serde_json::{Value, json};

use super::{
    collect::{Collected, Collector},
    request::{Encoding, walk},
};
use crate::http::edge::{body::Intake, problem::Problem};

fn collected(encoding: Encoding, body: impl Into<Bytes>) -> Result<Collected, Problem> {
    let mut collector = Collector::new("service.name", Intake::default().hold());
    walk(encoding, &body.into(), &mut collector)?;
    Ok(collector.finish())
}

/// The events of a request without rejected records.
fn events(encoding: Encoding, body: impl Into<Bytes>) -> Vec<String> {
    let collected = collected(encoding, body).unwrap();
    assert_eq!(collected.rejected, 0, "{:?}", collected.reasons);
    let text = |json: &Bytes| String::from_utf8(json.to_vec()).unwrap();
    let events = collected.events.iter();
    events.map(|event| text(&event.json)).collect()
}

/// The one event of a request in JSON.
fn event(request: &Value) -> Value {
    let events = events(Encoding::Json, request.to_string());
    assert_eq!(events.len(), 1);
    serde_json::from_str(&events[0]).unwrap()
}

/// A request with one record, whose resource has these attributes.
fn request(resource: &Value, record: &Value) -> Value {
    json!({"resourceLogs": [{
        "resource": {"attributes": resource},
        "scopeLogs": [{"logRecords": [record]}],
    }]})
}

fn attribute(key: &str, text: &str) -> Value {
    json!({"key": key, "value": {"stringValue": text}})
}

fn id(request: &Value) -> String {
    event(request)["event_id"].as_str().unwrap().to_owned()
}

/// A request like the specification's example of logs, with a value of every type.
fn example() -> Value {
    json!({"resourceLogs": [{
        "resource": {"attributes": [
            attribute("service.name", "shop"),
            attribute("service.instance.id", "shop-1"),
        ]},
        "schemaUrl": "https://opentelemetry.io/schemas/1.27.0",
        "scopeLogs": [{
            "scope": {"name": "cart", "version": "1.0.0", "attributes": [attribute("team", "a")]},
            "schemaUrl": "https://opentelemetry.io/schemas/1.26.0",
            "logRecords": [{
                "timeUnixNano": "1544712660300000000",
                "observedTimeUnixNano": "1544712660300000001",
                "severityNumber": 10,
                "severityText": "Information",
                "traceId": "5B8EFFF798038103D269B633813FC60C",
                "spanId": "EEE19B7EC3C1B174",
                "flags": 1,
                "droppedAttributesCount": 2,
                "eventName": "cart.paid",
                "body": {"stringValue": "paid \"in\" full\n"},
                "attributes": [
                    {"key": "bool", "value": {"boolValue": false}},
                    {"key": "int", "value": {"intValue": "-9223372036854775808"}},
                    {"key": "double", "value": {"doubleValue": 637.704}},
                    {"key": "array", "value": {"arrayValue": {"values": [
                        {"stringValue": "many"}, {"intValue": "0"},
                    ]}}},
                    {"key": "map", "value": {"kvlistValue": {"values": [attribute("some", "value")]}}},
                    {"key": "bytes", "value": {"bytesValue": "AP8="}},
                    {"key": "none", "value": {}},
                ],
            }],
        }],
    }]})
}

/// The same request in Protobuf, encoded by `opentelemetry-proto`.
fn in_protobuf(request: &Value) -> Vec<u8> {
    let message: ExportLogsServiceRequest = serde_json::from_value(request.clone()).unwrap();
    message.encode_to_vec()
}

#[test]
fn a_record_with_its_resource_and_scope_is_an_event() {
    let events = events(Encoding::Json, example().to_string());
    assert_snapshot!(events.join("\n"), @r#"
    {"topic":"shop","event_id":"sha256:9898a9b4f0a9a9b5a5ad93746e6db65fe688ce17d5d48feb7562e6e28be9ace7","timestamp":"2018-12-13T14:51:00.300000000Z","source":"shop-1","payload":{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},{"key":"service.instance.id","value":{"stringValue":"shop-1"}}]},"resourceSchemaUrl":"https://opentelemetry.io/schemas/1.27.0","scope":{"name":"cart","version":"1.0.0","attributes":[{"key":"team","value":{"stringValue":"a"}}]},"scopeSchemaUrl":"https://opentelemetry.io/schemas/1.26.0","record":{"timeUnixNano":"1544712660300000000","severityNumber":10,"severityText":"Information","body":{"stringValue":"paid \"in\" full\n"},"attributes":[{"key":"bool","value":{"boolValue":false}},{"key":"int","value":{"intValue":"-9223372036854775808"}},{"key":"double","value":{"doubleValue":637.704}},{"key":"array","value":{"arrayValue":{"values":[{"stringValue":"many"},{"intValue":"0"}]}}},{"key":"map","value":{"kvlistValue":{"values":[{"key":"some","value":{"stringValue":"value"}}]}}},{"key":"bytes","value":{"bytesValue":"AP8="}},{"key":"none","value":{}}],"droppedAttributesCount":2,"flags":1,"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","eventName":"cart.paid"}}}
    "#);
}

#[test]
fn protobuf_and_json_of_the_same_records_are_the_same_events() {
    let example = example();
    assert_eq!(
        events(Encoding::Protobuf, in_protobuf(&example)),
        events(Encoding::Json, example.to_string())
    );
}

#[test]
fn the_payload_has_the_whole_record_except_its_observed_time() {
    let payload = &event(&example())["payload"];
    let again = json!({"resourceLogs": [{
        "resource": payload["resource"],
        "schemaUrl": payload["resourceSchemaUrl"],
        "scopeLogs": [{
            "scope": payload["scope"],
            "schemaUrl": payload["scopeSchemaUrl"],
            "logRecords": [payload["record"]],
        }],
    }]});
    let mut sent = example();
    let record = &mut sent["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    record
        .as_object_mut()
        .unwrap()
        .remove("observedTimeUnixNano");
    assert_eq!(in_protobuf(&again), in_protobuf(&sent));
}

#[test]
fn a_record_with_its_own_id_keeps_it() {
    let with = |uid: &str| {
        request(
            &json!([]),
            &json!({"attributes": [attribute("log.record.uid", uid)]}),
        )
    };
    assert_eq!(
        id(&with("01ARZ3NDEKTSV4RRFFQ69G5FAV")),
        "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    );
    assert!(id(&with(&"x".repeat(256))).starts_with("sha256:"));
    assert_ne!(id(&with("sha256:00")), "sha256:00");
    let by_digest = |request: &Value| {
        collected(Encoding::Json, request.to_string())
            .unwrap()
            .by_digest
    };
    assert_eq!(by_digest(&with("a")), 0);
    assert_eq!(by_digest(&with("")), 1, "an empty text is no id");
}

#[test]
fn the_id_of_a_record_without_one_is_a_digest_of_its_content() {
    let example = example();
    let same = id(&example);
    assert_eq!(same.len(), "sha256:".len() + 64);
    let mut ids = vec![same.clone()];
    for (place, value) in [
        ("/resource/attributes/0/value/stringValue", json!("shop-2")),
        ("/schemaUrl", json!("")),
        ("/scopeLogs/0/scope/name", json!("")),
        ("/scopeLogs/0/scope", json!(null)),
        ("/scopeLogs/0/schemaUrl", json!("https://example.com")),
        ("/scopeLogs/0/logRecords/0/timeUnixNano", json!("1")),
        ("/scopeLogs/0/logRecords/0/body/stringValue", json!("paid")),
        ("/scopeLogs/0/logRecords/0/body", json!({})),
        ("/scopeLogs/0/logRecords/0/body", json!(null)),
    ] {
        let mut other = example["resourceLogs"][0].clone();
        *other.pointer_mut(place).unwrap() = value;
        ids.push(id(&json!({"resourceLogs": [other]})));
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10, "each of them differs from all others");
}

#[test]
fn a_record_observed_again_is_the_same_event_unless_it_has_no_other_time() {
    let record = |time: u64, observed: u64| {
        let record = json!({"timeUnixNano": time, "observedTimeUnixNano": observed});
        event(&request(&json!([]), &record))
    };
    assert_eq!(record(1, 2), record(1, 3));
    assert_ne!(record(0, 2), record(0, 3));
    assert_ne!(record(1, 2), record(2, 2));
}

#[test]
fn a_request_sent_again_is_the_same_events() {
    let body = in_protobuf(&example());
    assert_eq!(
        events(Encoding::Protobuf, body.clone()),
        events(Encoding::Protobuf, body)
    );
}

#[test]
fn topic_and_source_come_from_the_resource_or_have_a_default() {
    let names = |resource: Value| {
        let event = event(&request(&resource, &json!({})));
        [event["topic"].clone(), event["source"].clone()]
    };
    let (service, instance, host) = ("service.name", "service.instance.id", "host.name");
    assert_eq!(names(json!([])), ["unknown_service", "otlp"]);
    assert_eq!(
        names(json!([attribute(service, ""), attribute(instance, "")])),
        ["unknown_service", "otlp"]
    );
    assert_eq!(
        names(json!([attribute(service, "a"), attribute(host, "h")])),
        ["a", "h"]
    );
    assert_eq!(
        names(json!([attribute(host, "h"), attribute(instance, "i")])),
        ["unknown_service", "i"]
    );
    assert_eq!(
        names(json!([{"key": service, "value": {"intValue": 7}}]))[0],
        "unknown_service"
    );
    let long = names(json!([attribute(service, &"ä".repeat(128))]));
    assert!(long[0].as_str().unwrap().starts_with("sha256:"));
    let body = request(&json!([attribute("k8s.namespace.name", "n")]), &json!({}));
    let mut collector = Collector::new("k8s.namespace.name", Intake::default().hold());
    walk(Encoding::Json, &body.to_string().into(), &mut collector).unwrap();
    assert_eq!(collector.finish().events[0].topic.as_str(), "n");
}

#[test]
fn the_time_is_that_of_the_record_or_its_observation_or_null() {
    let time = |record: Value| event(&request(&json!([]), &record))["timestamp"].clone();
    assert_eq!(
        time(json!({"timeUnixNano": "1", "observedTimeUnixNano": "2"})),
        "1970-01-01T00:00:00.000000001Z"
    );
    assert_eq!(
        time(json!({"observedTimeUnixNano": "2000000000"})),
        "1970-01-01T00:00:02.000000000Z"
    );
    assert_eq!(
        time(json!({"timeUnixNano": u64::MAX})),
        "2554-07-21T23:34:33.709551615Z"
    );
    assert_eq!(time(json!({})), json!(null));
}
