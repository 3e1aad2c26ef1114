//! Tests of the conversion of `CloudEvents`: examples and properties.

mod refusals;

use proptest::prelude::*;

use super::*;

/// The required attributes.
const CORE: &str = r#""specversion":"1.0","type":"order.placed","source":"/shop","id":"7""#;

fn parse(json: &str) -> Result<Event, Vec<Violation>> {
    super::parse(&Bytes::copy_from_slice(json.as_bytes()), 0)
}

/// Parses an event with the required attributes, followed by the members in `more`.
fn with(more: &str) -> Result<Event, Vec<Violation>> {
    parse(&format!("{{{CORE},{more}}}"))
}

fn payload_with(more: &str) -> String {
    with(more).unwrap().payload.as_str().to_owned()
}

/// The field and the code of each violation of an invalid event.
fn wrong(event: Result<Event, Vec<Violation>>) -> Vec<(String, Code)> {
    let violations = event.expect_err("the event is not valid").into_iter();
    violations
        .map(|violation| (violation.field.unwrap_or_default(), violation.code))
        .collect()
}

fn one(field: &str, code: Code) -> Vec<(String, Code)> {
    vec![(field.to_owned(), code)]
}

#[test]
fn the_core_attributes_become_the_fields_and_the_rest_the_payload() {
    let event = with(
        r#""time":"2026-01-31T12:00:00.50+01:00","subject":"cart","ztenant":"\u0061\/b","attempt":5,"test":false,
           "datacontenttype":"application/json","data": { "amount" : 1.50 } "#,
    )
    .unwrap();
    assert_eq!(event.topic.as_str(), "order.placed");
    assert_eq!(event.event_id.as_str(), r#"["/shop","7"]"#);
    assert_eq!(event.source.as_str(), "/shop");
    assert_eq!(event.timestamp.as_str(), "2026-01-31T12:00:00.50+01:00");
    assert_eq!(
        event.payload.as_str(),
        r#"{"specversion":"1.0","attempt":"5","datacontenttype":"application/json","subject":"cart","test":"false","ztenant":"a/b","data":{ "amount" : 1.50 }}"#
    );
}

#[test]
fn the_order_of_members_and_the_spelling_of_strings_change_nothing() {
    let event = parse(
        r#"{"data":1.50,"b":"ä","id":"7","a":"1","source":"/shop","type":"order.placed","specversion":"1.0"}"#,
    );
    let same = with(r#""\u0061":"\u0031","b":"\u00e4","data": 1.50 "#);
    assert_eq!(event.unwrap(), same.unwrap());
}

#[test]
fn data_of_any_kind_is_kept_except_for_escapes() {
    for data in [
        "1.50",
        "123456789012345678901234567890",
        r#""<a/>""#,
        "null",
        "[ 1 , {\"a\":1,\"a\":2}]",
        "\"\\ud800\"",
    ] {
        let kept = format!(
            r#"{{"specversion":"1.0","datacontenttype":"application/json","data":{data}}}"#
        );
        assert_eq!(payload_with(&format!("\"data\": {data} ")), kept);
    }
    let xml = r#""datacontenttype":"text/xml","data":"<a b=\"c\"/>""#;
    assert_eq!(
        payload_with(xml),
        format!(r#"{{"specversion":"1.0",{xml}}}"#)
    );
    assert_eq!(
        payload_with(r#""data_base64":"AP\/+""#),
        r#"{"specversion":"1.0","data_base64":"AP/+"}"#
    );
    assert_eq!(
        parse(&format!("{{{CORE}}}")).unwrap().payload.as_str(),
        r#"{"specversion":"1.0"}"#
    );
}

/// Each case has the canonical form of some members and other forms equivalent to it.
#[test]
fn equivalent_events_have_one_canonical_form() {
    let json = r#""datacontenttype":"application/json""#;
    let text = r#""datacontenttype":"text/plain""#;
    for (kept, others) in [
        (r#""x":"5""#.to_owned(), vec![r#""x":5"#.to_owned()]),
        (
            r#""x":"-2147483648""#.to_owned(),
            vec![r#""x":-2147483648"#.to_owned()],
        ),
        (r#""x":"0""#.to_owned(), vec![r#""x":-0"#.to_owned()]),
        (r#""x":"true""#.to_owned(), vec![r#""x":true"#.to_owned()]),
        (r#""x":"false""#.to_owned(), vec![r#""x":false"#.to_owned()]),
        (
            format!(r#"{json},"data":"x""#),
            vec![
                r#""data":"x""#.to_owned(),
                r#""data":"\u0078""#.to_owned(),
                r#""data_base64":"Ingi""#.to_owned(),
                r#""datacontenttype":"Application/JSON; charset=UTF-8","data":"x""#.to_owned(),
            ],
        ),
        (
            format!(r#"{json},"data":{{}}"#),
            vec![
                r#""data_base64":"e30=""#.to_owned(),
                format!(r#"{json},"data_base64":"e30=""#),
            ],
        ),
        (
            format!(r#"{json},"data":{{"ä":["h€llo",1.0e5]}}"#),
            vec![r#""data":{"\u00e4":["h\u20AC\u006Clo",1.0e5]}"#.to_owned()],
        ),
        (
            format!(r#"{text},"data":"Hi""#),
            vec![
                format!(r#"{text},"data_base64":"SGk=""#),
                format!(r#"{text},"data":"H\u0069""#),
            ],
        ),
        (
            r#""datacontenttype":"application/vnd.a+json","data":[1]"#.to_owned(),
            vec![r#""datacontenttype":"application/vnd.a+json","data_base64":"WzFd""#.to_owned()],
        ),
        (
            r#""datacontenttype":"application/octet-stream","data_base64":"SGk=""#.to_owned(),
            vec![r#""datacontenttype":"application/octet-stream","data":"Hi""#.to_owned()],
        ),
        (
            text.to_owned(),
            vec![
                format!(r#"{text},"data":"""#),
                format!(r#"{text},"data_base64":"""#),
                format!(r#"{text},"data_base64":null,"x":null"#),
            ],
        ),
        (
            r#""x":"""#.to_owned(),
            vec![
                format!(r#"{json},"x":"""#),
                r#""data_base64":"","x":"""#.to_owned(),
            ],
        ),
    ] {
        let payload = format!(r#"{{"specversion":"1.0",{kept}}}"#);
        assert_eq!(payload_with(&kept), payload);
        for other in others {
            assert_eq!(payload_with(&other), payload, "{other}");
        }
    }
}

#[test]
fn what_the_specification_leaves_undefined_is_kept_as_received() {
    for open in [
        r#""datacontenttype":"text/plain","data":{"a":1}"#,
        r#""datacontenttype":"application/xml","data":5"#,
        r#""datacontenttype":"text/plain","data":"\ud800""#,
        r#""datacontenttype":"text/plain; charset=utf-16","data":"Hi""#,
        r#""datacontenttype":"text/plain; charset=utf-16","data_base64":"SABpAA==""#,
        r#""datacontenttype":"text/plain;a=\"b;charset=utf-8\"","data":"Hi""#,
        r#""datacontenttype":"image/png;charset=utf-8","data_base64":"AA==""#,
        r#""datacontenttype":"text/plain","data_base64":"//4=""#,
        r#""datacontenttype":"application/json","data_base64":"Hg==""#,
        r#""datacontenttype":"application/json","data":null"#,
        r#""datacontenttype":"application/json","data":"""#,
        r#""datacontenttype":"application/json;a=b","data":1"#,
    ] {
        let payload = format!(r#"{{"specversion":"1.0",{open}}}"#);
        assert_eq!(payload_with(open), payload);
    }
}

#[test]
fn a_media_type_is_in_lower_case_and_without_the_character_set_of_json_and_text() {
    for (received, kept, data) in [
        ("Text/Plain", "text/plain", r#""data":"Hi""#),
        ("text/plain; charset=utf-8", "text/plain", r#""data":"Hi""#),
        (
            "text/plain;CHARSET=\\\"UTF-8\\\"",
            "text/plain",
            r#""data":"Hi""#,
        ),
        ("text/html ; charset=UTF-8;", "text/html", r#""data":"Hi""#),
        (
            "application/SQL;charset=utf-8",
            "application/sql",
            r#""data":"Hi""#,
        ),
        (
            "image/svg+xml; charset=utf-8",
            "image/svg+xml",
            r#""data":"Hi""#,
        ),
        (
            "application/vnd.a+json;charset=utf-8",
            "application/vnd.a+json",
            r#""data":1"#,
        ),
        (
            "Application/JSON; charset=utf-8",
            "application/json",
            r#""data":1"#,
        ),
        (
            "text/csv; header=Yes; charset=utf-8",
            "text/csv; header=Yes",
            r#""data":"Hi""#,
        ),
        ("Image/PNG", "image/png", r#""data_base64":"AA==""#),
        (
            "Text/Plain; charset=UTF-16",
            "text/plain; charset=UTF-16",
            r#""data_base64":"AA==""#,
        ),
    ] {
        let event = with(&format!(r#""datacontenttype":"{received}",{data}"#)).unwrap();
        let payload = format!(r#"{{"specversion":"1.0","datacontenttype":"{kept}",{data}}}"#);
        assert_eq!(event.payload.as_str(), payload, "{received}");
        // Earlier versions stored the media type as received.
        let stored = format!(r#"{{"specversion":"1.0","datacontenttype":"{received}",{data}}}"#);
        let (payload, stored) = (payload.as_bytes(), stored.as_bytes());
        assert!(
            is_same_payload(&event.event_id, payload, stored),
            "{received}"
        );
    }
}

#[test]
fn data_may_have_one_level_less_than_a_payload() {
    let data = |levels: usize| {
        let data = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        (with(&format!("\"data\":{data}")), data)
    };
    assert!(data(127).0.is_ok());
    for levels in [128, 50_000] {
        let (event, data) = data(levels);
        assert_eq!(wrong(event), one("data", Code::TooDeep));
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, data);
        let event = with(&format!("\"data_base64\":\"{base64}\""));
        assert_eq!(wrong(event), one("data", Code::TooDeep));
    }
}

#[test]
fn payloads_of_earlier_versions_or_with_other_white_space_are_the_same_content() {
    let event = with(r#""attempt":5,"data":{"a": "h\u00e4", "n":1.50}"#).unwrap();
    let is_same = |stored: &str| {
        is_same_payload(&event.event_id, event.payload.as_bytes(), stored.as_bytes())
    };
    for same in [
        r#"{"specversion":"1.0","attempt":5,"data":{"a": "h\u00e4", "n":1.50}}"#,
        r#"{"specversion":"1.0","attempt":"5","datacontenttype":"application/json","data":{"a":"hä","n":1.50}}"#,
        r#"{"specversion":"1.0","attempt":"5","data_base64":"eyJhIjoiaFx1MDBlNCIsICJuIjoxLjUwfQ=="}"#,
    ] {
        assert!(is_same(same), "{same}");
    }
    for other in [
        r#"{"specversion":"1.0","attempt":6,"data":{"a":"hä","n":1.50}}"#,
        r#"{"specversion":"1.0","attempt":5,"data":{"a":"hä","n":1.5}}"#,
        r#"{"specversion":"1.0","attempt":5,"data":{"a":"h ä","n":1.50}}"#,
        r#"{"specversion":"1.0","attempt":5,"data":{"n":1.50,"a":"hä"}}"#,
        r#"{"specversion":"1.0","attempt":5}"#,
        r#"{"specversion":"1.0","attempt":[]}"#,
        "{}",
    ] {
        assert!(!is_same(other), "{other}");
    }
    let (one, other) = (
        br#"{"specversion":"1.0","n":5}"#,
        br#"{"specversion":"1.0","n":"5"}"#,
    );
    assert!(is_same_payload(&event.event_id, one, other));
    let own = EventId::new("7").unwrap();
    assert!(!is_same_payload(&own, one, other), "not a CloudEvent");
}

#[test]
fn without_a_time_arrival_is_used_and_sending_it_again_is_the_same_event() {
    let json = Bytes::from(format!("{{{CORE}}}"));
    let event = super::parse(&json, 1_000_000_001).unwrap();
    assert_eq!(event.timestamp.as_str(), "1970-01-01T00:00:01.000000001Z");
    assert!(event.timestamp.is_filled());
    let sent = event.to_json();
    assert_eq!(sent, super::parse(&json, 0).unwrap().to_json());
    assert!(sent.windows(16).any(|part| part == b"\"timestamp\":null"));
    let arrived = Event::parse_arrived(&sent, 1_000_000_001).unwrap();
    assert_eq!(arrived, event);
}

#[test]
fn long_names_are_hashed_and_kept_in_the_payload() {
    let long = "x".repeat(256);
    let event = |kind: &str, source: &str, id: &str| {
        let json =
            format!(r#"{{"specversion":"1.0","type":"{kind}","source":"{source}","id":"{id}"}}"#);
        let event = parse(&json).unwrap();
        let is_hashed = [
            event.topic.as_str(),
            event.source.as_str(),
            event.event_id.as_str(),
        ]
        .map(|name| name.starts_with("sha256:"));
        (is_hashed, event.payload.as_str().to_owned())
    };
    let kept = |more: &str| format!(r#"{{"specversion":"1.0"{more}}}"#);
    assert_eq!(
        event(&long, "s", "1"),
        ([true, false, false], kept(&format!(r#","type":"{long}""#)))
    );
    assert_eq!(
        event("t", &long, "1"),
        (
            [false, true, true],
            kept(&format!(r#","id":"1","source":"{long}""#))
        )
    );
    let nearly = "x".repeat(250);
    assert_eq!(
        event("t", "s", &nearly),
        (
            [false, false, true],
            kept(&format!(r#","id":"{nearly}","source":"s""#))
        )
    );
    assert_eq!(
        event("t", "sha256:", "1"),
        ([false, true, false], kept(r#","source":"sha256:""#))
    );
}

#[test]
fn the_size_limit_applies_before_and_after_the_conversion() {
    let sized = |bytes: usize| {
        let head = format!("{{{CORE},\"data\":\"");
        format!("{head}{}\"}}", "x".repeat(bytes - head.len() - 2))
    };
    assert_eq!(
        wrong(parse(&sized(MAX_EVENT_BYTES + 1))),
        one("", Code::TooLarge)
    );
    // The converted event is longer, because it contains the source twice.
    assert_eq!(
        wrong(parse(&sized(MAX_EVENT_BYTES))),
        one("", Code::TooLarge)
    );
    let event = parse(&sized(MAX_EVENT_BYTES - 100)).unwrap();
    assert!(Event::parse_arrived(&event.to_json(), 0).is_ok());
}

#[test]
fn json_with_a_specversion_is_a_cloudevent() {
    let has_specversion =
        |json: &'static str| has_specversion(&Bytes::from_static(json.as_bytes()));
    assert!(has_specversion(r#"{"a":1,"\u0073pecversion":null}"#));
    for other in [
        r#"{"a":"specversion"}"#,
        "[]",
        "7",
        r#"{"SpecVersion":"1.0"}"#,
    ] {
        assert!(!has_specversion(other), "{other}");
    }
}

/// Strings allowed in `CloudEvents` attributes, including ones that need escaping, are too long or look like a digest.
fn allowed() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[^\\p{Cc}\\p{Cn}]{1,12}",
        1 => "[\"\\\\,\\[\\]a]{1,6}",
        1 => "[ab]{250,260}",
        1 => "sha256:[ab]{0,2}",
    ]
}

proptest! {
    #[test]
    fn different_pairs_of_source_and_id_have_different_event_ids(
        (source, id, other_source, other_id) in (allowed(), allowed(), allowed(), allowed()),
    ) {
        let event_id = |source: &str, id: &str| {
            let json = serde_json::json!({"specversion": "1.0", "type": "t", "source": source, "id": id});
            parse(&json.to_string()).unwrap().event_id
        };
        let is_same = (&source, &id) == (&other_source, &other_id);
        prop_assert_eq!(event_id(&source, &id) == event_id(&other_source, &other_id), is_same);
        // Moving the boundary between source and id gives a different pair.
        prop_assert_ne!(event_id(&format!("{source}{id}"), "1"), event_id(&source, &format!("{id}1")));
    }

    #[test]
    fn a_cloudevent_can_be_reconstructed_from_its_event(
        (kind, source, id) in (allowed(), allowed(), allowed()),
        attributes in proptest::collection::btree_map("x[a-z0-9]{0,9}", attribute(), 0..6),
    ) {
        let mut sent = serde_json::Map::from_iter(attributes);
        for (name, text) in [("specversion", "1.0"), ("type", &kind), ("source", &source), ("id", &id)] {
            sent.insert(name.to_owned(), text.into());
        }
        let event = parse(&serde_json::Value::from(sent.clone()).to_string()).unwrap();
        prop_assert_eq!(&Event::parse_arrived(&event.to_json(), 0).unwrap(), &event);

        let mut made: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(event.payload.as_str()).unwrap();
        made.entry("type").or_insert(event.topic.as_str().into());
        made.entry("source").or_insert(event.source.as_str().into());
        if !event.event_id.as_str().starts_with("sha256:") {
            let [_, id]: [String; 2] = serde_json::from_str(event.event_id.as_str()).unwrap();
            made.insert("id".to_owned(), id.into());
        }
        // Integers and booleans are converted to their canonical strings.
        for value in sent.values_mut().filter(|value| !value.is_string()) {
            *value = value.to_string().into();
        }
        prop_assert_eq!(made, sent);
    }
}

fn attribute() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        allowed().prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
    ]
}
