//! Properties of the conversion for any names and attributes.

use proptest::prelude::*;

use super::*;

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
