//! The examples in the document are real requests and responses.

use super::*;

/// A store with events, duplicates, a conflict, a rejected arrival, and missing sequences.
async fn world() -> Fixture {
    let api = Fixture::new().await;
    let event = |id: &str, amount: &str| {
        format!(
            r#"{{"topic":"readme","event_id":"{id}","timestamp":"2026-01-31T12:00:00Z","source":"curl","payload":{{"amount": {amount}}}}}"#
        )
    };
    let messages = [
        event("1", "1.50"),
        event("2", "2.00"),
        event("1", "1.50"),
        event("2", "2.50"),
        r#"{"topic":"readme","event_id":"3","timestamp":"yesterday","source":"curl","payload":{}}"#
            .to_owned(),
    ];
    let stream = StreamState {
        name: "EVENTS".to_owned(),
        created: 1,
        first: 4,
        last: 3,
        messages: 0,
        bytes: 0,
    };
    let now = 1_769_860_801_000_000;
    api.writer.meet(stream.into(), now).await.unwrap();
    let batch = (4..).zip(messages).map(|(sequence, json)| Delivery {
        senders: shared::publish::Senders::default(),
        subject: "events.readme".to_owned(),
        sequence,
        time: 0,
        arrivals: message::decode("events.readme", &Bytes::from(json), 0),
    });
    api.writer
        .append(Arc::new(batch.collect()), now)
        .await
        .unwrap();
    api
}

/// Replaces values that differ between runs: times, the uptime, the disk, why the broker is unreachable (the attempt to
/// connect may or may not have failed already), the store's id, and what describes the process and its machine.
fn without_times(value: &Value) -> Value {
    match value {
        Value::String(text)
            if time::OffsetDateTime::parse(
                text,
                &time::format_description::well_known::Rfc3339,
            )
            .is_ok() =>
        {
            "some time".into()
        }
        Value::Array(values) => values.iter().map(without_times).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| match name.as_str() {
                "uptime_seconds" | "free_bytes" | "total_bytes" | "store_bytes"
                | "seconds_left" => (name.clone(), 0.into()),
                "version" | "store_id" | "process_id" | "settings" | "machine" | "log" => {
                    (name.clone(), Value::Null)
                }
                "broker" => (name.clone(), value.is_string().into()),
                _ => (name.clone(), without_times(value)),
            });
            members.collect::<serde_json::Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

#[tokio::test]
async fn every_response_and_request_body_has_an_example_that_fits_its_schema() {
    let api = Fixture::new().await;
    let document = Document::of(&api).await;
    for operation in document.operations() {
        let request = operation.documented["requestBody"]["content"].as_object();
        let answers = operation.documented["responses"].as_object().unwrap();
        let answers = answers
            .values()
            .filter_map(|answer| answer["content"].as_object());
        for (media_type, content) in request.into_iter().chain(answers).flatten() {
            let is_json = media_type.ends_with("json");
            let examples: Vec<_> = content["examples"]
                .as_object()
                .into_iter()
                .flatten()
                .collect();
            let has_example = !is_json || !examples.is_empty();
            assert!(has_example, "{} {media_type}", operation.name());
            for (name, example) in examples {
                let what = format!("{} {media_type} {name}", operation.name());
                document.assert_fits(&content["schema"], &example["value"], &what);
            }
        }
    }
}

#[tokio::test]
async fn the_examples_of_get_requests_are_the_actual_responses() {
    let api = world().await;
    let document = Document::of(&api).await;
    let examples: Value = crate::http::openapi::examples();
    let mut compared = 0;
    for operation in document.operations() {
        let examples_of = &examples[operation.name()];
        let has_end = examples_of["200"].get("text/event-stream").is_none();
        if operation.method != "get" || examples_of.is_null() || !has_end {
            continue;
        }
        let query = examples_of["query"].as_str().unwrap_or_default();
        let request = Request::get(format!("{}?{query}", operation.path));
        let (status, body) = send(&api, request, Body::empty()).await;
        let answer: Value = serde_json::from_slice(&body).unwrap();
        let answers = &operation.documented["responses"][status.to_string()]["content"];
        let schema = &answers["application/json"]["schema"];
        document.assert_fits(schema, &answer, &operation.name());
        let examples_of = &examples_of[status.to_string()]["application/json"];
        let example = examples_of.as_object().unwrap().values().next().unwrap();
        // As text, because the order of the members is shown too.
        assert_eq!(
            without_times(&answer).to_string(),
            without_times(example).to_string(),
            "{}",
            operation.name()
        );
        compared += 1;
    }
    assert_eq!(compared, 11);
}

#[tokio::test]
async fn the_examples_of_lines_and_of_a_tail_are_what_is_sent() {
    let api = world().await;
    let examples: Value = crate::http::openapi::examples();
    let lines = &examples["GET /events"]["200"]["application/x-ndjson"]["lines"];
    let request = Request::get("/events?topic=readme&format=ndjson");
    let (_, sent) = send(&api, request, Body::empty()).await;
    assert_eq!(sent, lines.as_str().unwrap());

    let examples_of = &examples["GET /events/tail"]["200"]["text/event-stream"];
    let request = Request::get("/events/tail").header("last-event-id", "0");
    let request = request.body(Body::empty()).unwrap();
    let answer = api.router.clone().oneshot(request).await.unwrap();
    let (mut body, mut sent) = (answer.into_body(), String::new());
    while sent.matches("\n\n").count() < 2 {
        let frame = body.frame().await.unwrap().unwrap();
        sent += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
    }
    for (event, name) in sent.split("\n\n").zip(["start", "stored"]) {
        let fields = event.lines().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.into())
        });
        let fields: serde_json::Map<_, _> = fields.collect();
        assert_eq!(&Value::from(fields), &examples_of[name]);
    }
}

#[tokio::test]
async fn the_examples_of_request_bodies_get_as_far_as_the_broker() {
    let api = world().await;
    let document = Document::of(&api).await;
    let examples: Value = crate::http::openapi::examples();
    let mut sent = 0;
    for operation in document.operations() {
        let content = operation.documented["requestBody"]["content"].as_object();
        for (media_type, content) in content.into_iter().flatten() {
            for (name, example) in content["examples"].as_object().into_iter().flatten() {
                let body = match &example["value"] {
                    Value::String(text) => text.clone(),
                    value => value.to_string(),
                };
                let query = examples[operation.name()]["query"]
                    .as_str()
                    .unwrap_or_default();
                let mut request = Request::post(format!("{}?{query}", filled(operation.path)))
                    .header(header::CONTENT_TYPE, media_type);
                if (operation.path, media_type.as_str()) == ("/cloudevents", "application/json") {
                    for (attribute, value) in [
                        ("specversion", "1.0"),
                        ("type", "a"),
                        ("source", "b"),
                        ("id", "c"),
                    ] {
                        request = request.header(format!("ce-{attribute}"), value);
                    }
                }
                let (status, body) = send(&api, request, body.into()).await;
                let body = String::from_utf8_lossy(&body);
                let expected = match name.as_str() {
                    "none" | "ignored" => 200,
                    _ => 503,
                };
                assert_eq!(
                    status,
                    expected,
                    "{} {media_type} {name}: {body}",
                    operation.name()
                );
                assert!(
                    status == 200 || body.contains("the broker cannot be reached"),
                    "{body}"
                );
                sent += 1;
            }
        }
    }
    assert!(sent >= 10, "{sent}");
}

#[tokio::test]
async fn the_members_of_an_example_are_in_the_order_of_the_event() {
    let api = Fixture::new().await;
    let (_, body) = send(&api, Request::get("/openapi.json"), Body::empty()).await;
    let document: Value = serde_json::from_slice(&body).unwrap();
    let publish = &document["paths"]["/publish"]["post"];
    let content = &publish["requestBody"]["content"]["application/json"];
    let example = content["examples"]["one"]["value"].as_object().unwrap();
    let members: Vec<_> = example.keys().map(String::as_str).collect();
    assert_eq!(members, shared::event::FIELDS);
}
