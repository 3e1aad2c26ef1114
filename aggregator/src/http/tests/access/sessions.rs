//! Sessions of browsers, and what of a response depends on who asks.

use axum::http::{HeaderMap, HeaderValue};

use super::*;
use crate::{health::Notice, http::edge::starting::Entrance, store::Opening};

/// The status, the headers and the text of the response to a form.
async fn form(
    api: &Fixture,
    path: &str,
    body: String,
    cookie: &str,
) -> (StatusCode, HeaderMap, String) {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ORIGIN, "http://localhost")
        .header(header::COOKIE, cookie)
        .body(Body::from(body));
    let answer = api.router.clone().oneshot(from_somewhere(request.unwrap()));
    let (head, body) = answer.await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        head.status,
        head.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn a_browser_signs_in_sees_who_it_is_and_signs_out() {
    let (api, keys) = guarded().await;
    let open = async |cookie: &str| {
        let request = Request::get("/?event=a,1%22").header(header::COOKIE, cookie);
        api.send(request.body(Body::empty()).unwrap()).await
    };
    let (status, page) = open("").await;
    assert_eq!(status, 200);
    assert!(
        page.contains("action=\"sign-in\"") && page.contains("value=\"event=a,1%22\""),
        "{page}"
    );
    let (status, headers, page) = form(
        &api,
        "/sign-in",
        format!("token={}", keys.text("wrong")),
        "",
    )
    .await;
    assert_eq!(
        (status, headers.get(header::SET_COOKIE)),
        (StatusCode::FORBIDDEN, None)
    );
    assert!(
        page.contains("not valid") && page.contains("action=\"sign-in\""),
        "{page}"
    );
    let (_, _, page) = form(
        &api,
        "/sign-in",
        format!("token={}", keys.text("expired")),
        "",
    )
    .await;
    assert!(page.contains("expired"), "{page}");

    let body = format!(
        "user=token&query=event%3Da,1%2522&token={}",
        keys.text("operator")
    );
    let (status, headers, _) = form(&api, "/sign-in", body, "").await;
    assert_eq!(status, 303);
    assert_eq!(headers[header::LOCATION], "./?event=a,1%22");
    let cookie = headers[header::SET_COOKIE].to_str().unwrap();
    let (cookie, attributes) = cookie.split_once(';').unwrap();
    assert!(
        attributes.contains("HttpOnly") && attributes.contains("SameSite=Strict"),
        "{attributes}"
    );
    assert!(!cookie.contains(&keys.text("operator")));
    let (_, page) = open(cookie).await;
    assert!(
        page.contains("Signed in as <b>operator</b>: reads orders.*; publishes orders.*; admin."),
        "{page}"
    );

    let (status, headers, _) = form(&api, "/sign-out", String::new(), cookie).await;
    assert_eq!(
        (status, &headers[header::LOCATION]),
        (StatusCode::SEE_OTHER, &HeaderValue::from_static("./"))
    );
    assert!(
        headers[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    let (_, page) = open(cookie).await;
    assert!(page.contains("action=\"sign-in\""), "{page}");
}

#[tokio::test]
async fn a_session_ends_with_its_token_and_the_page_of_everybody_says_so() {
    let (api, keys) = guarded().await;
    let token = Secret::parse(&keys.text("reader")).unwrap().sha256();
    let id = api
        .api
        .edge
        .authenticator
        .sessions
        .begin(token, Instant::now());
    let ask = async || {
        let request =
            Request::get("/stats").header(header::COOKIE, format!("aggregator_session={id}"));
        api.send(request.body(Body::empty()).unwrap()).await.0
    };
    assert_eq!(ask().await, 200);
    api.api.edge.authenticator.access.replace(Tokens::default());
    assert_eq!(ask().await, 401);
    let everybody = Fixture::new().await;
    assert!(everybody.get("/").await.contains("Anonymous access"));
}

#[tokio::test]
async fn a_form_of_another_site_signs_nobody_in() {
    let (api, keys) = guarded().await;
    for origin in ["null", "http://evil.example"] {
        let request = Request::post("/sign-in")
            .header(header::ORIGIN, origin)
            .body(Body::from(format!("token={}", keys.text("reader"))));
        let (status, body) = api.send(request.unwrap()).await;
        assert_eq!(status, 403, "{body}");
        assert!(body.contains("foreign-origin"), "{body}");
    }
}

#[tokio::test]
async fn what_a_session_opened_ends_when_it_signs_out_or_signs_in_again() {
    let (api, keys) = guarded().await;
    let sign_in = format!("token={}", keys.text("reader"));
    for path in ["/live", "/events/tail"] {
        for (next, body) in [("/sign-out", ""), ("/sign-in", &sign_in)] {
            let (_, headers, _) = form(&api, "/sign-in", sign_in.clone(), "").await;
            let cookie = headers[header::SET_COOKIE].to_str().unwrap();
            let (cookie, _) = cookie.split_once(';').unwrap();
            let request = Request::get(path).header(header::COOKIE, cookie);
            let request = request.body(Body::empty()).unwrap();
            let open = api.router.clone().oneshot(request).await.unwrap();
            assert_eq!(open.status(), 200);
            assert_eq!(
                open.headers()[header::CACHE_CONTROL],
                "no-store, no-transform"
            );
            let mut whole = Box::pin(open.into_body().collect());
            assert!(futures::poll!(&mut whole).is_pending());
            let (status, _, _) = form(&api, next, body.to_owned(), cookie).await;
            assert_eq!(status, 303);
            assert!(whole.await.is_ok(), "{path} {next}");
        }
    }
}

#[tokio::test]
async fn what_depends_on_the_token_is_not_cached() {
    let (api, keys) = guarded().await;
    let control = async |api: &Fixture, path: &str| {
        let request =
            Request::get(path).header(header::AUTHORIZATION, keys.header("operator", false));
        let request = request.body(Body::empty()).unwrap();
        let answer = api.router.clone().oneshot(request).await.unwrap();
        answer.headers().get(header::CACHE_CONTROL).cloned()
    };
    let no_store = Some(HeaderValue::from_static("no-store"));
    for path in ["/events", "/health", "/stats", "/topics?limit=0", "/"] {
        assert_eq!(control(&api, path).await, no_store, "{path}");
    }
    assert_eq!(control(&api, "/page/page.js").await.unwrap(), "no-cache");
    assert_eq!(control(&Fixture::new().await, "/events").await, None);
}

#[tokio::test]
async fn what_is_wrong_with_the_tokens_file_is_told_to_an_admin_only() {
    let (api, keys) = guarded().await;
    let reason = "token 2 (\"ann\") is wrong".to_owned();
    api.api.process.health.notices(Notice::Tokens, Some(reason));
    let notice = async |name: &str| {
        let (_, health) = api.get_as(&keys, name, "/health").await;
        let health: serde_json::Value = serde_json::from_str(&health).unwrap();
        health["notices"]["tokens"].as_str().unwrap().to_owned()
    };
    assert!(notice("admin").await.contains("ann"));
    let told = notice("reader").await;
    assert!(
        told.contains("the log says why") && !told.contains("ann"),
        "{told}"
    );
}

#[tokio::test]
async fn while_the_service_starts_nobody_without_a_token_learns_more_than_that() {
    let (mut api, _) = guarded().await;
    let entrance = Entrance::new(Opening::default(), api.api.edge.clone());
    api.router = Router::new()
        .fallback_service(entrance)
        .layer(map_request(with_host));
    for path in ["/health", "/readyz", "/stats", "/nothing"] {
        let answer = api.get(path).await;
        assert!(answer.starts_with("503 "), "{path}: {answer}");
        assert!(!answer.contains("store"), "{path}: {answer}");
    }
}
