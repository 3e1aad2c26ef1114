//! Rejected arrivals, conflicts and missing sequences.

use super::*;

#[tokio::test]
async fn rejected_arrivals_are_listed_as_received() {
    let api = Fixture::new().await;
    let garbage = "[1,\"\u{0}\",";
    api.append(&["7", garbage]).await;
    assert_snapshot!(api.get("/rejected?limit=1").await, @r#"
    200 content-type: application/json
    {"rejected":[{"id":2,"reason":"not_json","detail":"control character (\\u0000-\\u001F) found while parsing a string at line 1 column 4","subject":"events.a","stream_sequence":2,"position":0,"processed_at":"1970-01-01T00:00:01.000000Z","requeued_at":null,"body":"[1,\"\u0000\","}],"total":2,"evicted":0,"next_cursor":"2"}
    "#);
    assert_snapshot!(api.get("/rejected?cursor=2").await, @r#"
    200 content-type: application/json
    {"rejected":[{"id":1,"reason":"not_events","detail":"the body is neither an event nor an array of events","subject":"events.a","stream_sequence":1,"position":0,"processed_at":"1970-01-01T00:00:01.000000Z","requeued_at":null,"body":"7"}],"total":2,"evicted":0,"next_cursor":null}
    "#);
    assert!(api.get("/rejected?cursor=x").await.starts_with("422 "));
}

#[tokio::test]
async fn rejected_arrivals_and_conflicts_are_selected_by_topic_reason_and_time() {
    let api = Fixture::new().await;
    let of_b = |amount: &str| {
        let event = event("1").replace("\"topic\":\"a\"", "\"topic\":\"b c\"");
        event.replace("1e5", amount)
    };
    let messages = [
        ("events.a", "7".to_owned()),
        ("events.b%20c", "[".to_owned()),
        ("events.b%20c", "8".to_owned()),
        ("events.a", event("1")),
        ("events.a", event("1").replace("1e5", "2e5")),
        ("events.b%20c", of_b("1")),
        ("events.b%20c", of_b("2")),
        ("events", r#"{"topic":"b c","event_id":7}"#.to_owned()),
        ("events", r#"[{"topic":"a"},9]"#.to_owned()),
    ];
    let messages = messages.map(|(subject, body)| (subject.to_owned(), body));
    api.append_on(messages.into()).await;
    let ids = async |list: &str, query: &str| {
        let page = api.json(&format!("/{list}?{query}")).await;
        let rows = page[list].as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["id"].to_string())
            .collect::<String>()
    };
    for (query, rejected, conflicts) in [
        ("", "654321", "21"),
        ("topic=a", "51", "1"),
        ("topic=b+c", "432", "2"),
        ("topic=c", "", ""),
        ("since=1970-01-01T00:00:01Z", "654321", "21"),
        ("since=-1d", "", ""),
        ("until=1970-01-01T00:00:01Z", "", ""),
        ("until=-1d&topic=a", "51", "1"),
    ] {
        assert_eq!(ids("rejected", query).await, rejected, "{query}");
        assert_eq!(ids("conflicts", query).await, conflicts, "{query}");
    }
    assert_eq!(ids("rejected", "reason=not_events").await, "31");
    assert_eq!(ids("rejected", "reason=not_events&topic=b+c").await, "3");
    assert_eq!(ids("rejected", "reason=empty").await, "");
    let page = api.json("/rejected?reason=not_events&limit=1").await;
    assert_eq!(page["next_cursor"], "3");
    assert_eq!(ids("rejected", "reason=not_events&cursor=3").await, "1");
    let wrong = api.get("/rejected?reason=nonsense").await;
    assert!(wrong.starts_with("422 "), "{wrong}");
    assert!(
        wrong.contains("must be one of: empty, not_json, "),
        "{wrong}"
    );
    assert!(api.get("/conflicts?reason=empty").await.starts_with("422 "));
    assert!(api.get("/conflicts?since=1h").await.starts_with("422 "));
    for path in ["rejected", "conflicts"] {
        let empty = api.get(&format!("/{path}?since=-1h&until=-2h")).await;
        assert!(empty.starts_with("422 "), "{empty}");
        assert!(
            empty.contains("since must be earlier than until"),
            "{empty}"
        );
    }
}

#[tokio::test]
async fn a_conflict_is_listed_with_the_stored_event() {
    let api = Fixture::new().await;
    let other = event("1").replace("1e5", "2e5");
    api.append(&[&event("1"), &other]).await;
    assert_snapshot!(api.get("/conflicts").await, @r#"
    200 content-type: application/json
    {"conflicts":[{"id":1,"stored":{"topic":"a","event_id":"1","timestamp":"2026-01-31T12:00:00+01:00","source":"s","payload":{ "n":1e5 },"processed_at":"1970-01-01T00:00:01.000000Z"},"timestamp":"2026-01-31T12:00:00+01:00","source":"s","payload":{ "n":2e5 },"subject":"events.a","stream_sequence":2,"position":0,"processed_at":"1970-01-01T00:00:01.000000Z"}],"total":1,"evicted":0,"next_cursor":null}
    "#);
}

#[tokio::test]
async fn a_rejected_body_is_requeued_only_if_it_is_valid() {
    let api = Fixture::new().await;
    api.append(&["7", "8"]).await;
    let requeue = async |id: &str, body: String| {
        let request = Request::post(format!("/rejected/{id}/requeue"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into());
        api.ask(request.unwrap()).await
    };
    let unchanged = requeue("1", String::new()).await;
    assert!(unchanged.starts_with("422 "), "{unchanged}");
    // There is no broker: a valid body gets as far as 503.
    let changed = requeue("1", event("1")).await;
    assert!(changed.starts_with("503 "), "{changed}");
    for unknown in ["3", "x", "-1"] {
        let answer = requeue(unknown, event("1")).await;
        assert!(answer.starts_with("404 "), "{answer}");
    }
    let request = Request::post("/rejected/1/requeue").body(Body::empty());
    let answer = api.ask(request.unwrap()).await;
    assert!(answer.starts_with("415 "), "{answer}");
    assert!(!api.get("/rejected").await.contains("requeued_at\":\""));
}

#[tokio::test]
async fn missing_sequences_are_listed_until_and_after_they_are_acknowledged() {
    let api = Fixture::new().await;
    let stream = StreamState {
        name: "EVENTS".to_owned(),
        created: 1,
        first: 4,
        last: 9,
        messages: 6,
        bytes: 0,
    };
    api.writer.meet(stream.into(), 1_000_000).await.unwrap();
    assert_snapshot!(api.get("/missing").await, @r#"
    200 content-type: application/json
    {"missing":[{"stream":"EVENTS","first":1,"last":3,"noticed_at":"1970-01-01T00:00:01.000000Z","acknowledged_at":null}]}
    "#);
    assert!(api.get("/health").await.contains("\"missing\":3"));
    let request = Request::post("/missing/acknowledge")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::empty());
    assert_snapshot!(api.ask(request.unwrap()).await, @r#"
    200 content-type: application/json
    {"acknowledged":3}
    "#);
    assert!(api.get("/stats").await.contains("\"missing\":0"));
    assert!(
        !api.get("/missing")
            .await
            .contains("\"acknowledged_at\":null")
    );
}

#[tokio::test]
async fn rows_are_marked_as_seen_up_to_an_id_that_exists() {
    let api = Fixture::new().await;
    let other = event("1").replace("1e5", "2e5");
    api.append(&["7", "8", &event("1"), &other]).await;
    let mark = async |rows: &str, query: &str| {
        let request = Request::post(format!("/{rows}/seen{query}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::empty());
        api.ask(request.unwrap()).await
    };
    let beyond = "up_to is beyond the latest id";
    let no_number = "up_to must be a whole number above 0";
    for (rows, query, status, said) in [
        ("rejected", "?up_to=3", "422 ", beyond),
        ("rejected", "?up_to=99999999999999999999", "422 ", beyond),
        ("rejected", "?up_to=0", "422 ", no_number),
        ("rejected", "?up_to=-1", "422 ", no_number),
        ("rejected", "?up_to=x", "422 ", no_number),
        ("rejected", "?up_to=", "422 ", no_number),
        ("rejected", "", "422 ", "up_to is required"),
        ("rejected", "?upto=1", "422 ", "is not a known parameter"),
        ("rejected", "?up_to=2", "200 ", r#"{"seen":2,"count":2}"#),
        ("rejected", "?up_to=1", "200 ", r#"{"seen":2,"count":2}"#),
        ("conflicts", "?up_to=2", "422 ", beyond),
        ("conflicts", "?up_to=1", "200 ", r#"{"seen":1,"count":1}"#),
    ] {
        let answer = mark(rows, query).await;
        assert!(answer.starts_with(status), "{rows}{query}: {answer}");
        assert!(answer.contains(said), "{rows}{query}: {answer}");
    }
    let stats = api.json("/stats").await;
    assert_eq!(stats["rejected_seen"], 2, "a mark is never lowered");
    assert_eq!(stats["rejected_seen_up_to"], 2);
    assert_eq!(stats["conflicts_seen"], 1);
    assert_eq!(stats["conflicts_seen_up_to"], 1);
    assert_eq!(stats["rejected_requeued"], 0);
    // As an HTML form of another site would send it.
    let request = Request::post("/rejected/seen?up_to=1").body(Body::empty());
    assert!(api.ask(request.unwrap()).await.starts_with("415 "));
}

#[tokio::test]
async fn conflicts_are_selected_by_the_identity_of_the_event() {
    let api = Fixture::new().await;
    let other = |id| event(id).replace("1e5", "2e5");
    api.append(&[
        &event("1"),
        &event("2"),
        &other("1"),
        &other("2"),
        &other("1"),
    ])
    .await;
    let ids = async |query: &str| {
        let page = api.json(&format!("/conflicts?{query}")).await;
        let rows = page["conflicts"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["id"].to_string())
            .collect::<String>()
    };
    assert_eq!(ids("topic=a&event_id=1").await, "31");
    assert_eq!(ids("event_id=2").await, "2");
    assert_eq!(ids("topic=b&event_id=2").await, "");
    assert!(api.get("/conflicts?event_id=").await.starts_with("422 "));
}
