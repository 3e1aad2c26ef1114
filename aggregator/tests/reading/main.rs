//! The commands that read, as a shell sees them, against a server with scripted answers.

mod running;
mod server;

use self::{
    running::{Running, start, start_read_until},
    server::{answer, partial, serve, target},
};

/// A command line of each command.
const COMMANDS: [&[&str]; 5] = [
    &["query"],
    &["tail"],
    &["event", "orders", "1"],
    &["topics"],
    &["stats"],
];

#[test]
fn stats_are_printed_unchanged() {
    let json = r#"{"received": 20003, "rate":1.50,"topics":["é"]}"#;
    let (url, server) = serve(vec![answer("200 OK", "application/json", json)]);
    let ended = start(&["stats"], &url).end();
    assert_eq!(ended, (Some(0), format!("{json}\n"), String::new()));
    assert_eq!(target(&server.join().unwrap().0[0]), "/stats");
}

#[test]
fn a_query_sends_its_flags_as_parameters_and_prints_the_lines() {
    let (url, server) = serve(vec![answer(
        "200 OK",
        "application/x-ndjson",
        "{\"a\":1}\n{}\n",
    )]);
    let flags = [
        ("--topic", "a b&c"),
        ("-t", "é"),
        ("--event-id", "7"),
        ("--source", "s"),
        ("--since", "2026-01-31T12:00:00+01:00"),
        ("--until", "2026-02-01T00:00:00Z"),
        ("--time-since", "-2d"),
        ("--order", "asc"),
        ("--contains", "50 %"),
        ("--payload", "a.b=1"),
        ("--payload", "c=x=y"),
        ("-n", "5k"),
    ];
    let mut arguments = vec!["query"];
    arguments.extend(flags.iter().flat_map(|(flag, value)| [*flag, *value]));
    arguments.push("-i");
    let ended = start(&arguments, &url).end();
    assert_eq!(
        ended,
        (Some(0), "{\"a\":1}\n{}\n".to_owned(), String::new())
    );
    assert_eq!(
        target(&server.join().unwrap().0[0]),
        "/events?format=ndjson&topic=a+b%26c&topic=%C3%A9&event_id=7&source=s&contains=50+%25&ignore_case=true&payload.a.b=1&payload.c=x%3Dy&since=2026-01-31T12%3A00%3A00%2B01%3A00\
         &until=2026-02-01T00%3A00%3A00Z&time_since=-2d&order=asc&limit=5000"
    );
}

#[test]
fn a_truncated_answer_is_a_failure_and_no_partial_line_is_printed() {
    let part = partial("application/x-ndjson", "{\"a\":1}\n{\"a\":");
    let (url, server) = serve(vec![part]);
    let running = start(&["query"], &url);
    assert_eq!(Running::next(&running.stdout), "{\"a\":1}");
    drop(server.join().unwrap());
    let (code, stdout, stderr) = running.end();
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.starts_with("error: the answer ended early (")
            && stderr.ends_with("): the output is incomplete\n"),
        "{stderr}"
    );
}

#[test]
fn a_stopped_query_is_reported_as_incomplete() {
    let (url, server) = serve(vec![partial("application/x-ndjson", "{}\n")]);
    let running = start(&["query"], &url);
    assert_eq!(Running::next(&running.stdout), "{}");
    running.interrupt();
    let (code, _, stderr) = running.end();
    assert_eq!(code, Some(1));
    assert_eq!(stderr, "error: stopped early: the output is incomplete\n");
    drop(server.join().unwrap());
}

#[test]
fn a_refusal_is_printed_with_its_errors() {
    let problem = r#"{"type":"urn:problem:invalid","title":"Not valid","status":422,"detail":"the query is not valid",
        "errors":[{"field":"limit","code":"range","message":"must be at least 1"}],"errors_total":1}"#;
    for command in COMMANDS {
        let (url, server) = serve(vec![answer(
            "422 Unprocessable Entity",
            "application/problem+json",
            problem,
        )]);
        let (code, stdout, stderr) = start(command, &url).end();
        assert_eq!((code, stdout.as_str()), (Some(1), ""));
        assert_eq!(
            stderr,
            "error: the query is not valid\n  limit must be at least 1\n"
        );
        drop(server.join().unwrap());
    }
}

#[test]
fn another_server_or_none_is_a_failure_in_one_line() {
    let page = answer("200 OK", "text/html", "<html>\n");
    let (url, _server) = serve(vec![page; COMMANDS.len()]);
    for command in COMMANDS {
        for (url, expected) in [
            (url.as_str(), "is this the aggregator's address?"),
            (
                "http://127.0.0.1:1",
                "Connection refused; is the aggregator running there? --url or AGGREGATOR_URL sets its address",
            ),
        ] {
            let (code, stdout, stderr) = start(command, url).end();
            assert_eq!((code, stdout.as_str()), (Some(1), ""), "{command:?}");
            assert!(stderr.contains(expected), "{command:?}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    }
}

#[test]
fn tail_prints_events_and_says_what_it_missed_until_ctrl_c() {
    let events = "id: 1\ndata: {\"a\":1}\n\n: still here\n\nevent: event\nid: 2\ndata: {\"a\":2}\n\n\
                  event: missed\ndata: {\"missed\":7,\"from\":3}\n\nevent: later\ndata: {}\n\nid: 3\ndata: {\"a\":3}\n\n";
    let (url, server) = serve(vec![partial("text/event-stream", events)]);
    let running = start(&["tail", "-t", "a b", "-t", "c", "--source", "s"], &url);
    for line in ["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"] {
        assert_eq!(Running::next(&running.stdout), line);
    }
    running.interrupt();
    let (code, stdout, stderr) = running.end();
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert_eq!(
        stderr,
        "7 events were not searched: they are stored faster than they can be searched; aggregator query finds them\n"
    );
    assert_eq!(
        target(&server.join().unwrap().0[0]),
        "/events/tail?topic=a+b&topic=c&source=s"
    );
}

#[test]
fn tail_reconnects_and_continues_after_the_last_event_printed() {
    let (url, server) = serve(vec![
        // The last event is incomplete: it is not printed, and is sent again.
        partial(
            "text/event-stream",
            "id: one\ndata: 1\n\ndata: 2\n\nid: two\ndata: 3\n",
        ),
        answer("503 Service Unavailable", "text/plain", "starting"),
        partial("text/event-stream", "id: two\ndata: 3\n\n"),
    ]);
    let running = start(&["tail"], &url);
    for line in ["1", "2", "3"] {
        assert_eq!(Running::next(&running.stdout), line);
    }
    running.interrupt();
    let (code, _, stderr) = running.end();
    assert_eq!(code, Some(0));
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(lines[0].starts_with("lost the connection ("), "{stderr}");
    assert_eq!(lines[1], "connected again");
    let (heads, _) = server.join().unwrap();
    assert!(!heads[0].contains("last-event-id"), "{}", heads[0]);
    for head in &heads[1..] {
        assert!(head.contains("last-event-id: one\r\n"), "{head}");
    }
}

#[test]
fn tail_ends_if_it_is_refused_after_a_lost_connection() {
    let (url, server) = serve(vec![
        partial("text/event-stream", "id: 1\ndata: 1\n\n"),
        answer("404 Not Found", "text/plain", ""),
    ]);
    let (code, stdout, stderr) = start(&["tail"], &url).end();
    assert_eq!((code, stdout.as_str()), (Some(1), "1\n"));
    assert!(stderr.contains("404 Not Found"), "{stderr}");
    drop(server.join().unwrap());
}

#[test]
fn it_ends_when_its_reader_goes_away_even_while_nothing_arrives() {
    for (command, kind, body) in [
        ("tail", "text/event-stream", "data: 1\n\n"),
        ("query", "application/x-ndjson", "1\n"),
    ] {
        let (url, server) = serve(vec![partial(kind, body)]);
        let ended = start_read_until(1, &[command], &url).end();
        assert_eq!(ended, (Some(0), "1\n".to_owned(), String::new()));
        drop(server.join().unwrap());
    }
}

#[test]
fn a_tail_ends_after_the_requested_number_of_events() {
    let events = "id: 1\ndata: 1\n\nid: 2\ndata: 2\n\nid: 3\ndata: 3\n\n";
    let (url, server) = serve(vec![partial("text/event-stream", events)]);
    let ended = start(&["tail", "-n", "2"], &url).end();
    assert_eq!(ended, (Some(0), "1\n2\n".to_owned(), String::new()));
    drop(server.join().unwrap());
}

#[test]
fn a_tail_says_that_its_position_is_unknown_and_what_it_missed() {
    let events = "event: start\nid: 9\ndata: {\"unknown_last_event_id\":true}\n\nevent: missed\nid: 12\ndata: {\"missed\":3}\n\n\
                  event: missed\ndata: {\"missed\":null}\n\n\
                  id: 13\ndata: {}\n\n";
    let (url, server) = serve(vec![partial("text/event-stream", events)]);
    let (code, stdout, stderr) = start(&["tail", "-n1"], &url).end();
    assert_eq!((code, stdout.as_str()), (Some(0), "{}\n"));
    assert_eq!(
        stderr,
        "the aggregator does not know the last event printed; continuing with the events stored from now on\n\
         missed 3 events: reading more slowly than events are stored; aggregator query prints them\n\
         missed some events: reading more slowly than events are stored; aggregator query prints them\n"
    );
    drop(server.join().unwrap());
}

#[test]
fn a_search_without_a_match_says_so_and_goes_on() {
    let lines = "\n{}\n\n\n";
    let (url, server) = serve(vec![answer("200 OK", "application/x-ndjson", lines)]);
    let (code, stdout, stderr) = start(&["query", "--contains", "x"], &url).end();
    assert_eq!((code, stdout.as_str()), (Some(0), "{}\n"));
    let expected = "still searching: no match within the last 10 s\n".repeat(3);
    assert_eq!(stderr, expected);
    drop(server.join().unwrap());
}

#[test]
fn topics_are_printed_page_by_page_up_to_the_limit() {
    let page = |topics: &str, next: &str| {
        let body = format!("{{\"topics\":[{topics}],\"total\":5,\"next_cursor\":{next}}}");
        answer("200 OK", "application/json", &body)
    };
    let (url, server) = serve(vec![
        page("{\"topic\":\"a\"},{\"topic\": \"b\"}", "\"b\""),
        page("{\"topic\":\"c\"}", "\"c\""),
    ]);
    let ended = start(&["topics", "--contains", "é", "-n", "3"], &url).end();
    let printed = "{\"topic\":\"a\"}\n{\"topic\": \"b\"}\n{\"topic\":\"c\"}\n".to_owned();
    assert_eq!(ended, (Some(0), printed, String::new()));
    let (heads, _) = server.join().unwrap();
    assert_eq!(
        target(&heads[0]),
        "/topics?sort=topic&contains=%C3%A9&limit=3"
    );
    assert_eq!(
        target(&heads[1]),
        "/topics?sort=topic&contains=%C3%A9&limit=1&cursor=b"
    );
}

#[test]
fn topics_that_are_incomplete_say_so() {
    let body = "{\"topics\":[],\"total\":5,\"next_cursor\":null,\"partial\":true}";
    let (url, _server) = serve(vec![answer("200 OK", "application/json", body)]);
    let (code, stdout, stderr) = start(&["topics", "--sort", "duplicate_share"], &url).end();
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert_eq!(
        stderr,
        "not all topics could be searched in time: others may belong before these\n"
    );
}

#[test]
fn a_proxy_that_fails_is_named_by_its_status() {
    let (url, _server) = serve(vec![answer("502 Bad Gateway", "text/html", "<html>")]);
    let (code, stdout, stderr) = start(&["stats"], &url).end();
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.ends_with("/stats responded with 502 Bad Gateway\n"),
        "{stderr}"
    );
}
