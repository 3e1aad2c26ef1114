//! What a proxy does to the host that a browser asks for, and that README's lines for nginx are enough.

use e2e::{
    System,
    api::{Answer, Api},
    event::{array, event, events},
    nginx::Nginx,
    workspace,
};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Has the first rejected arrival sent again, as the page does that is shown at this address.
async fn requeue(api: &Api) -> Answer {
    let event = event("orders", "mended").json();
    let headers = [JSON, ("origin", api.url())];
    api.post_with("/rejected/1/requeue", &headers, event).await
}

fn detail(answer: &Answer) -> String {
    answer.json()["detail"].as_str().unwrap().to_owned()
}

/// The block for nginx in the README, with the address of this aggregator.
fn lines_of_the_readme(aggregator: &Api) -> String {
    let readme = std::fs::read_to_string(workspace::root().join("README.md")).unwrap();
    let (_, block) = readme.split_once("```nginx\n").expect("a block for nginx");
    let (block, _) = block.split_once("```").unwrap();
    let address = "http://127.0.0.1:8080";
    assert!(block.contains(address), "{block}");
    block.replace(address, aggregator.url())
}

#[tokio::test]
async fn a_host_that_a_proxy_replaced_is_named_in_the_refusal_and_so_is_the_remedy() {
    let system = System::start().await;
    system.put("events.orders", "{").await;
    system.settled().await;
    let Some(plain) = Nginx::before(system.api()).await else {
        return;
    };
    let refused = requeue(plain.api()).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let origin = format!("{:?}", plain.api().url());
    let host = format!("{:?}", system.api().address());
    for part in [&*origin, &host, "proxy_set_header Host $http_host"] {
        assert!(detail(&refused).contains(part), "{}", refused.text());
    }
    let upstream = format!("upstream logs {{ server {}; }}", system.api().address());
    let named = Nginx::with(&upstream, "location / { proxy_pass http://logs; }").await;
    let refused = named.unwrap().api().get("/stats").await.unwrap();
    assert_eq!(refused.status, 421, "{}", refused.text());
    for part in ["\"logs\"", "proxy_set_header Host $http_host"] {
        assert!(detail(&refused).contains(part), "{}", refused.text());
    }
}

#[tokio::test]
async fn with_the_lines_of_the_readme_nginx_takes_what_the_service_takes() {
    let system = System::start().await;
    system.put("events.orders", "{").await;
    system.settled().await;
    let Some(nginx) = Nginx::with("", &lines_of_the_readme(system.api())).await else {
        return;
    };
    let api = nginx.api();
    let requeued = requeue(api).await;
    assert_eq!(requeued.status, 200, "{}", requeued.text());
    let mut body = array(&events("large", 0..10));
    body.push_str(&" ".repeat(15 * 1024 * 1024 - body.len()));
    let taken = api.post(body).await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    system.settled().await;
    let export = api.ask_for("application/x-ndjson", "/events", &[("topic", "large")]);
    assert_eq!(export.await.text().lines().count(), 10);
    let foreign = [JSON, ("origin", "http://evil.example")];
    let refused = api.post_with("/publish", &foreign, "{}").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
}
