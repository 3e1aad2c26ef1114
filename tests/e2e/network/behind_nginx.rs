//! Behind an nginx with `proxy_pass` and no other setting: it buffers responses, uses HTTP/1.0 (before 1.29.7), and
//! rewrites `Host`.

use e2e::{System, event::event, nginx::Nginx, tail::Tail};

#[tokio::test]
async fn server_sent_events_arrive_immediately_behind_a_plain_nginx() {
    let system = System::start().await;
    let Some(nginx) = Nginx::before(system.api()).await else {
        return;
    };
    let api = nginx.api();
    // Each waits for its next event, and nothing else is sent that could flush it from a buffer.
    let mut live = Tail::open_at(api, "/live").await;
    assert_eq!(live.message().await.kind, "history");
    assert_eq!(live.message().await.kind, "sample");
    let mut tail = Tail::open(api, &["orders"], None).await;
    for id in ["1", "2"] {
        api.publish(&[event("orders", id)]).await;
        assert_eq!(tail.message().await.event_id(), id);
    }
}
