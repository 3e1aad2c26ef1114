//! What is accepted as an event, and which arrivals have equal content.

use e2e::{
    System,
    api::{Answer, Api},
    event::{Event, event},
};
use serde_json::Value;

/// Timestamps outside the grammar of RFC 3339, or on a day that does not exist.
const WRONG_TIMES: [&str; 7] = [
    "2026-01-31x12:00:00Z",
    "2026-01-31 12:00:00Z",
    "2026-01-31\u{0}12:00:00Z",
    "2026-01-31712:00:00Z",
    "2026-01-31T12:00:00",
    "2026-02-29T12:00:00Z",
    "2026-01-31T12:00:00.Z",
];

fn codes(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.status, 422, "{}", answer.text());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let problem = answer.json();
    let errors = problem["errors"].as_array().expect("errors are listed");
    let errors = errors.iter();
    errors
        .map(|error| (text(&error["field"]), text(&error["code"])))
        .collect()
}

fn one(field: &str, code: &str) -> Vec<(String, String)> {
    vec![(field.to_owned(), code.to_owned())]
}

/// Sends a `CloudEvent` in structured mode, with the required members and `members`: JSON text that is empty or starts
/// with a comma. Waits at most 30 s until it is stored.
async fn structured(api: &Api, id: &str, members: &str) -> Answer {
    let headers = [("content-type", "application/cloudevents+json")];
    let body =
        format!(r#"{{"specversion":"1.0","type":"cloud","source":"/s","id":"{id}"{members}}}"#);
    api.post_with("/cloudevents?wait=stored&wait_ms=30000", &headers, body)
        .await
}

/// Sends a `CloudEvent` in binary mode, with the required headers and `more`. Waits at most 30 s until it is stored.
async fn binary(api: &Api, id: &str, more: &[(&str, &str)], body: &str) -> Answer {
    let core = [
        ("ce-specversion", "1.0"),
        ("ce-type", "cloud"),
        ("ce-source", "/s"),
        ("ce-id", id),
    ];
    let path = "/cloudevents?wait=stored&wait_ms=30000";
    api.post_with(path, &[&core, more].concat(), body.to_owned())
        .await
}

#[tokio::test]
async fn a_time_that_is_not_rfc_3339_is_refused_everywhere() {
    let system = System::start().await;
    let api = system.api();
    for wrong in WRONG_TIMES {
        let quoted = serde_json::to_string(wrong).unwrap();
        let sent = api.post(event("t", "1").with_timestamp(wrong).json()).await;
        assert_eq!(codes(&sent), one("timestamp", "not_rfc3339"), "{wrong:?}");
        let cloud = structured(api, "1", &format!(",\"time\":{quoted}")).await;
        let code = if wrong.contains('\0') {
            "wrong_type"
        } else {
            "not_rfc3339"
        };
        assert_eq!(codes(&cloud), one("time", code), "{wrong:?}");
        for name in ["since", "until"] {
            let asked = api.ask("/events", &[(name, wrong)]).await;
            assert_eq!(codes(&asked), one(name, "not_rfc3339"), "{wrong:?}");
        }
        system
            .put("events.t", &event("t", "1").with_timestamp(wrong).json())
            .await;
    }
    let books = system.settled().await;
    assert_eq!(books.stats.rejected, WRONG_TIMES.len() as u64);
    assert_eq!(books.stats.unique_processed, 0);
    let rejected = api.ask("/rejected", &[("limit", "1")]).await.json();
    let row = &rejected["rejected"][0];
    assert_eq!(row["reason"], "invalid_event", "{rejected}");

    let right = ["2026-01-31t12:00:00.1234567890123z", "2016-12-31T23:59:60Z"];
    for (id, right) in ["0", "1"].into_iter().zip(right) {
        api.store(&[event("t", id).with_timestamp(right)]).await;
        let stored = api.ask("/event", &[("topic", "t"), ("event_id", id)]).await;
        assert_eq!(stored.json()["event"]["timestamp"], right);
        assert_eq!(api.ask("/events", &[("since", right)]).await.status, 200);
    }
}

#[tokio::test]
async fn a_timestamp_written_differently_is_a_duplicate_and_the_first_text_is_kept() {
    let system = System::start().await;
    let api = system.api();
    let first = event("t", "1").with_timestamp("2026-01-31T12:00:42.58Z");
    let at = |timestamp: &str| first.clone().with_timestamp(timestamp);
    let outcome = async |event: Event| {
        let answer = api.store(&[event]).await;
        answer.json()["outcome"].as_str().map(str::to_owned)
    };
    assert_eq!(outcome(first.clone()).await.as_deref(), Some("stored"));
    for same in [
        "2026-01-31T12:00:42.5800000+00:00",
        "2026-01-31t13:00:42.580+01:00",
        "2026-01-31T12:00:42.58000000000000-00:00",
    ] {
        let outcome = outcome(at(same)).await;
        assert_eq!(outcome.as_deref(), Some("duplicate"), "{same}");
    }
    let conflict = api.store(&[at("2026-01-31T12:00:42.580000000001Z")]).await;
    assert_eq!(conflict.json()["type"], "urn:problem:conflict");
    let books = system.settled().await;
    assert_eq!(
        (books.stats.duplicate_dropped, books.stats.conflicts),
        (4, 1)
    );
    let stored = api.events_of("t").await.json();
    assert_eq!(stored["events"][0]["timestamp"], first.timestamp);
}

#[tokio::test]
async fn a_payload_of_128_levels_is_stored_and_a_deeper_one_is_refused() {
    let system = System::start().await;
    let api = system.api();
    let nested = |levels: usize| format!("{}0{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let deepest = event("t", "1").with_payload(&nested(128));
    api.store(std::slice::from_ref(&deepest)).await;
    assert!(api.events_of("t").await.text().contains(&deepest.payload));

    for levels in [129, 50_000] {
        let deep = event("t", "2").with_payload(&nested(levels)).json();
        for answer in [
            api.post(deep.clone()).await,
            api.post(format!("[{deep}]")).await,
            api.post(format!("{{\"events\":[{deep}]}}")).await,
            api.post_as(Some("application/x-ndjson"), deep.clone())
                .await,
        ] {
            assert_eq!(codes(&answer), one("payload", "too_deep"));
        }
        // The payload of a CloudEvent is nested one level deeper than its data.
        let data = nested(levels - 1);
        let answer = structured(api, "2", &format!(",\"data\":{data}")).await;
        assert_eq!(codes(&answer), one("data", "too_deep"));
        let json = [("content-type", "application/json")];
        let answer = binary(api, "2", &json, &data).await;
        assert_eq!(codes(&answer), one("data", "too_deep"));
        system.put("events.t", &deep).await;
    }
    assert_eq!(
        structured(api, "1", &format!(",\"data\":{}", nested(127)))
            .await
            .status,
        200
    );
    let books = system.settled().await;
    assert_eq!(books.counts(), [4, 2, 0]);
    assert_eq!(books.stats.rejected, 2);
    let rejected = api.get("/rejected").await.unwrap();
    let row = &rejected.json()["rejected"][0];
    assert_eq!(row["reason"], "invalid_event");
    assert!(
        row["detail"].as_str().unwrap().contains("128 levels"),
        "{row}"
    );
    let id = row["id"].as_i64().unwrap();
    let again = api.post_to(&format!("/rejected/{id}/requeue"), "").await;
    assert_eq!(codes(&again), one("payload", "too_deep"));
}

#[tokio::test]
async fn an_unpaired_surrogate_hides_no_member_from_filters() {
    let system = System::start().await;
    let api = system.api();
    let payloads = [
        r#"{"\ud800":1,"user":{"name":"ann"}}"#,
        r#"{"user":{"name":"ann","\udc00":2}}"#,
        r#"{"user":{"\ud83dx":{"name":"bob"},"name":"ann"},"z":"\ud800"}"#,
        r#"{"\ud800":{"name":"ann"},"user":{"name":"\ud800"}}"#,
    ];
    let numbered = payloads.iter().zip(["0", "1", "2", "3"]);
    let events: Vec<_> = numbered
        .map(|(payload, id)| event("t", id).with_payload(payload))
        .collect();
    api.store(&events).await;
    let query = [("payload.user.name", "ann"), ("order", "asc")];
    let found = api.ask("/events", &query).await;
    // The text is searched, because `serde_json` cannot parse an unpaired surrogate into a value.
    let is_found = |id: &&str| found.text().contains(&format!(r#""event_id":"{id}""#));
    let found: Vec<_> = ["0", "1", "2", "3"].into_iter().filter(is_found).collect();
    assert_eq!(found, ["0", "1", "2"]);
}

/// The members of a `CloudEvent` in structured mode, and the headers and the body of the same event in binary mode.
type Pair<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

const JSON: (&str, &str) = ("content-type", "application/json");
const TEXT: (&str, &str) = ("content-type", "text/plain");

const SAME: [Pair<'_>; 17] = [
    (
        r#","sampledrate":5,"data":{}"#,
        &[JSON, ("ce-sampledrate", "5")],
        "{}",
    ),
    (
        r#","a":true,"b":false,"c":-7"#,
        &[("ce-a", "true"), ("ce-b", "false"), ("ce-c", "-7")],
        "",
    ),
    (r#","data":"x""#, &[JSON], r#""x""#),
    (r#","data":1.50"#, &[], "1.50"),
    (r#","data":null"#, &[JSON], "null"),
    (
        r#","data":{"a":1}"#,
        &[("content-type", "application/json; charset=utf-8")],
        r#"{"a": 1}"#,
    ),
    (
        r#","datacontenttype":"text/plain","data_base64":"SGk=""#,
        &[TEXT],
        "Hi",
    ),
    (
        r#","datacontenttype":"text/plain","data":"H\u0069""#,
        &[TEXT],
        "Hi",
    ),
    (
        r#","datacontenttype":"application/json","data_base64":"e30=""#,
        &[JSON],
        "{}",
    ),
    (r#","data_base64":"e30=""#, &[JSON], "{}"),
    (
        r#","datacontenttype":"application/vnd.x+json","data_base64":"WzFd""#,
        &[("content-type", "application/vnd.x+json")],
        "[1]",
    ),
    (
        r#","datacontenttype":"application/octet-stream","data":"abc""#,
        &[("content-type", "application/octet-stream")],
        "abc",
    ),
    (r#","data":"h\u00e4llo""#, &[JSON], "\"hällo\""),
    (
        r#","data":{"\u0061":["h\u00e4llo\/",{"b":"\ud83d\ude00"}]}"#,
        &[JSON],
        r#"{"a":["hällo/",{"b":"😀"}]}"#,
    ),
    (
        r#","subject":"h\u00e4llo","x":"\"q\" %""#,
        &[("ce-subject", "h%C3%A4llo"), ("ce-x", "%22q%22%20%25")],
        "",
    ),
    (r#","datacontenttype":"text/plain","data":"""#, &[TEXT], ""),
    (
        r#","time":"2026-01-31T12:00:00.50Z","dataschema":"/x","datacontenttype":"application/xml","data":"<a/>""#,
        &[
            ("ce-time", "2026-01-31T13:00:00.5+01:00"),
            ("ce-dataschema", "/x"),
            ("content-type", "application/xml"),
        ],
        "<a/>",
    ),
];

#[tokio::test]
async fn a_cloudevent_is_the_same_in_structured_binary_and_batched_mode() {
    let system = System::start().await;
    let api = system.api();
    for (index, (members, headers, body)) in SAME.into_iter().enumerate() {
        let outcome = |answer: &Answer| answer.json()["outcome"].as_str().map(str::to_owned);
        let id = index.to_string();
        let sent = [
            structured(api, &id, members).await,
            binary(api, &id, headers, body).await,
        ];
        assert_eq!(outcome(&sent[0]).as_deref(), Some("stored"), "{members}");
        let again = outcome(&sent[1]);
        assert_eq!(again.as_deref(), Some("duplicate"), "{members}");
        let batch = format!(
            r#"[{{"id":"{id}"{members},"source":"\u002fs","type":"cloud","specversion":"1.0"}}]"#
        );
        let batched = [("content-type", "application/cloudevents-batch+json")];
        let path = "/cloudevents?wait=stored&wait_ms=30000";
        let answer = api.post_with(path, &batched, batch).await;
        assert_eq!(outcome(&answer).as_deref(), Some("duplicate"), "{members}");
        // In the opposite order.
        let id = format!("{index}-again");
        binary(api, &id, headers, body).await;
        let answer = structured(api, &id, members).await;
        assert_eq!(outcome(&answer).as_deref(), Some("duplicate"), "{members}");
    }
    assert_eq!(system.settled().await.stats.conflicts, 0);

    // Different content is still a conflict.
    structured(api, "d", r#","x":5,"data":[1.0]"#).await;
    for (headers, body) in [
        (&[JSON, ("ce-x", "5.0")], "[1.0]"),
        (&[JSON, ("ce-x", "5")], "[1]"),
        (&[JSON, ("ce-x", "5")], "[1.0,2]"),
        (&[TEXT, ("ce-x", "5")], "[1.0]"),
    ] {
        let answer = binary(api, "d", headers, body).await;
        assert_eq!(answer.json()["type"], "urn:problem:conflict", "{body}");
    }
    let stored = api
        .ask("/events", &[("topic", "cloud"), ("limit", "1")])
        .await;
    let kept = r#"{"specversion":"1.0","datacontenttype":"application/json","x":"5","data":[1.0]}"#;
    assert!(stored.text().contains(kept), "{}", stored.text());
}
