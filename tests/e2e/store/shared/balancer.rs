//! The load balancer in front of them, with the demo's configuration.

use e2e::{event::event, nginx::Nginx, tail::Tail};
use reqwest::{
    Client,
    header::{COOKIE, SET_COOKIE},
    redirect::Policy,
};

use super::Cluster;
use crate::network::tokens::token;

#[tokio::test]
async fn the_load_balancer_goes_on_with_the_others_when_an_aggregator_is_killed() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let mut one = cluster.aggregator().await;
    let mut other = cluster.aggregator().await;
    let Some(nginx) = Nginx::balancing(&[one.api(), other.api()]).await else {
        return;
    };
    let api = nginx.api();
    let mut id = 0_u32;
    // One of them is the one that this client is sent to.
    for killed in [&mut one, &mut other] {
        killed.kill();
        for _ in 0..20 {
            id += 1;
            api.publish(&[event("orders", &id.to_string())]).await;
            let stats = api.get("/stats").await.unwrap();
            assert_eq!(stats.status, 200, "{}", stats.text());
        }
        killed.start_again().await;
        killed.healthy().await;
    }
    assert_eq!(other.api().settled().await.counts(), [40, 40, 0]);
    // A stream that never ends is not held back.
    let mut tail = Tail::open(api, &["invoices"], None).await;
    api.publish(&[event("invoices", "1")]).await;
    assert_eq!(tail.message().await.event_id(), "1");
}

#[tokio::test]
async fn the_load_balancer_lets_events_be_published_while_every_aggregator_is_unhealthy() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let one = cluster.aggregator().await;
    let other = cluster.aggregator().await;
    let Some(nginx) = Nginx::balancing(&[one.api(), other.api()]).await else {
        return;
    };
    let api = nginx.api();
    cluster.set_read_only(true);
    for aggregator in [&one, &other] {
        aggregator.unhealthy().await;
    }
    // As a monitor asks. No answer of an aggregator keeps it from getting requests.
    for id in 0..20 {
        let health = api.get("/health").await.unwrap();
        assert_eq!(health.status, 503, "{}", health.text());
        assert_eq!(health.json()["status"], "unhealthy", "{}", health.text());
        api.publish(&[event("orders", &id.to_string())]).await;
    }
    cluster.set_read_only(false);
    assert_eq!(other.api().settled().await.counts(), [20, 20, 0]);
}

#[tokio::test]
async fn a_browser_that_signs_in_through_the_load_balancer_stays_signed_in() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let tokens = tempfile::tempdir().unwrap();
    let file = tokens.path().join("tokens.toml");
    let token = token(&file, &["create", "ann", "--read", "*"]).await;
    let flags = ["--tokens", file.to_str().unwrap()];
    let one = cluster.aggregator_with(&flags).await;
    let other = cluster.aggregator_with(&flags).await;
    let Some(nginx) = Nginx::balancing(&[one.api(), other.api()]).await else {
        return;
    };
    let base = nginx.api().url();
    let client = Client::builder().no_proxy().redirect(Policy::none());
    let client = client.build().unwrap();
    // As from a proxy that decrypts connections.
    let request = client.post(format!("{base}/sign-in"));
    let request = request
        .header("x-forwarded-proto", "https")
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body(format!("token={token}")).send().await.unwrap();
    assert_eq!(answer.status(), 303);
    let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("__Host-"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    for _ in 0..10 {
        let request = client.get(format!("{base}/stats")).header(COOKIE, cookie);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}
