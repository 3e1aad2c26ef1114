//! The canonical form of payloads, which equivalent events share.

use super::*;

#[test]
fn the_order_of_members_and_the_spelling_of_strings_change_nothing() {
    let event = parse(
        r#"{"data":1.50,"b":"ä","id":"7","a":"1","source":"/shop","type":"order.placed","specversion":"1.0"}"#,
    );
    let same = with(r#""\u0061":"\u0031","b":"\u00e4","data": 1.50 "#);
    assert_eq!(event.unwrap(), same.unwrap());
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
