//! The live page: its files, its security headers, the sites that may send requests, and the list of topics.

use super::*;

#[tokio::test]
async fn the_page_and_its_files_are_served_with_a_content_security_policy() {
    let api = Fixture::new().await;
    let page = api.get("/").await;
    assert!(page.starts_with("200 content-type: text/html"), "{page}");
    let files = page.split('"').filter(|text| text.starts_with("page/"));
    let files: Vec<_> = files.collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let answer = api.get(&format!("/{file}")).await;
        assert!(answer.starts_with("200 "), "{file}: {answer}");
        for import in answer.split("from \"./").skip(1) {
            let name = import.split('"').next().unwrap();
            let imported = api.get(&format!("/page/{name}")).await;
            assert!(
                imported.starts_with("200 content-type: text/javascript"),
                "{name}"
            );
        }
    }
    assert!(api.get("/page/other.js").await.starts_with("404 "));
    // Browsers ask for it with documents that name no icon.
    let icon = api.get("/favicon.ico").await;
    assert!(
        icon.starts_with("200 content-type: image/svg+xml"),
        "{icon}"
    );
    for (file, expected) in [
        ("page.js", "no-cache"),
        ("icon-trouble.svg", "max-age=86400"),
    ] {
        let request = Request::get(format!("/page/{file}"));
        let answer = api
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap());
        let answer = answer.await.unwrap();
        assert_eq!(answer.headers()["cache-control"], expected, "{file}");
    }
    for path in ["/", "/stats", "/nothing"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = api.router.clone().oneshot(request).await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap();
        assert!(header("content-security-policy").starts_with("default-src 'self';"));
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
    }
}

#[tokio::test]
async fn every_streamed_response_asks_proxies_not_to_buffer_it() {
    let api = Fixture::new().await;
    let document = api.get("/openapi.json").await;
    let document: serde_json::Value =
        serde_json::from_str(document.split_once('\n').unwrap().1).unwrap();
    let mut tried = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let kinds = item["get"]["responses"]["200"]["content"].as_object();
        for kind in kinds.into_iter().flat_map(serde_json::Map::keys) {
            if !["text/event-stream", "application/x-ndjson"].contains(&kind.as_str()) {
                continue;
            }
            let request = Request::get(path).header("accept", kind);
            let request = request.body(Body::empty()).unwrap();
            let answer = api.router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.headers()["content-type"], kind.as_str(), "{path}");
            assert_eq!(answer.headers()["x-accel-buffering"], "no", "{path}");
            if kind == "text/event-stream" {
                let control = &answer.headers()["cache-control"];
                assert_eq!(control, "no-store, no-transform", "{path}");
            }
            tried.push(path);
        }
    }
    assert_eq!(tried, ["/live", "/events", "/events/tail"]);
}

#[tokio::test]
async fn another_site_can_neither_read_nor_change_anything() {
    let api = Fixture::new().await;
    api.append(&["7"]).await;
    let send = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::post(path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        api.ask(request.body(event("1").into()).unwrap()).await
    };
    let foreign = [
        ("host", "localhost:8080"),
        ("origin", "http://other.example"),
    ];
    for path in ["/publish", "/rejected/1/requeue", "/missing/acknowledge"] {
        let answer = send(path, &foreign).await;
        assert!(answer.starts_with("403 "), "{path}: {answer}");
        assert!(answer.contains("urn:problem:foreign-origin"), "{answer}");
    }
    let own = [
        ("host", "localhost:8080"),
        ("origin", "http://localhost:8080"),
    ];
    let answer = send("/missing/acknowledge", &own).await;
    assert!(answer.starts_with("200 "), "{answer}");
    let request = Request::get("/stats").header("host", "other.example:8080");
    assert_snapshot!(api.ask(request.body(Body::empty()).unwrap()).await, @r#"
    421 content-type: application/problem+json
    {"type":"urn:problem:unknown-host","title":"Unknown host","status":421,"detail":"\"other.example:8080\" is not an allowed host name: use an IP address or localhost, or start the aggregator with --allowed-hosts and that name. If this is not the name that you requested, a proxy in front of the service has replaced it: configure it to forward the Host header; in nginx: proxy_set_header Host $http_host","request_id":"test"}
    "#);
}

#[tokio::test]
async fn topics_are_sorted_by_any_count_and_found_by_part_of_their_names() {
    let api = Fixture::new().await;
    let of = |topic: &str, id: &str| event(id).replace("\"a\"", &format!("\"{topic}\""));
    // One event of A.x, three of b including a duplicate, two of c.X including a duplicate.
    let message = |topic: &str, ids: &[&str]| {
        let events: Vec<_> = ids.iter().map(|id| of(topic, id)).collect();
        let body = Bytes::from(format!("[{}]", events.join(",")));
        let subject = format!("events.{topic}");
        let arrivals = message::decode(&subject, &body, 0);
        (subject, arrivals)
    };
    api.append(&[]).await;
    let messages = [
        message("A.x", &["1"]),
        message("b", &["1", "2", "2"]),
        message("c.X", &["1", "1"]),
    ];
    for (sequence, (subject, arrivals)) in (1..).zip(messages) {
        let delivery = Delivery {
            senders: shared::publish::Senders::default(),
            subject,
            sequence,
            time: 0,
            arrivals,
        };
        let now = 2_000_000 - i64::try_from(sequence).unwrap();
        let batch = Arc::new(vec![delivery]);
        api.writer.append(batch, now).await.unwrap();
    }
    let names = async |query: &str| {
        let answer = api.get(&format!("/topics?{query}")).await;
        let (head, body) = answer.split_once('\n').unwrap();
        assert!(head.starts_with("200 "), "{answer}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let names = body["topics"].as_array().unwrap().iter();
        let names: Vec<_> = names
            .map(|topic| topic["topic"].as_str().unwrap())
            .collect();
        format!(
            "{} of {} {}",
            names.join(" "),
            body["total"],
            body["next_cursor"]
        )
    };
    for (query, expected) in [
        ("", "A.x b c.X of 3 null"),
        ("sort=topic&order=desc", "c.X b A.x of 3 null"),
        ("sort=received", "b c.X A.x of 3 null"),
        ("sort=received&order=asc&limit=2", "A.x c.X of 3 null"),
        ("sort=unique_processed", "b A.x c.X of 3 null"),
        ("sort=duplicate_dropped", "b c.X A.x of 3 null"),
        ("sort=duplicate_share", "c.X b A.x of 3 null"),
        ("contains=x", "A.x c.X of 3 null"),
        ("contains=.X&sort=received&limit=1", "c.X of 3 null"),
        ("contains=%25", " of 3 null"),
        ("limit=1", "A.x of 3 \"A.x\""),
        ("limit=1&cursor=A.x&contains=X", "c.X of 3 null"),
    ] {
        assert_eq!(names(query).await, expected, "{query}");
    }
    for wrong in [
        "sort=size",
        "order=up",
        "contains=",
        "sort=received&cursor=a",
        "order=desc&cursor=a",
    ] {
        let answer = api.get(&format!("/topics?{wrong}")).await;
        assert!(answer.starts_with("422 "), "{wrong}: {answer}");
    }
}
