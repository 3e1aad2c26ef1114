//! Refusals reach clients that write their whole request before they read, and requests that are invalid in HTTP are
//! refused.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use e2e::System;
use tokio::task::spawn_blocking;

/// More than any refusal takes on a slow machine.
const DEADLINE: Duration = Duration::from_secs(60);

const LENGTH: usize = 40 * 1024 * 1024;

const CRLF: &str = "\r\n";

/// The response to a client that writes this head, and a body of this many bytes, before it reads.
async fn answer(system: &System, head: &[&str], body: usize) -> String {
    let address = system.api().address();
    let head = format!("{}{CRLF}{CRLF}", head.join(CRLF));
    let client = spawn_blocking(move || {
        let mut connection = TcpStream::connect(address)?;
        connection.set_read_timeout(Some(DEADLINE))?;
        connection.write_all(head.as_bytes())?;
        connection.write_all(&vec![b' '; body])?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    });
    client.await.unwrap().expect("an answer")
}

#[tokio::test]
async fn every_refusal_reaches_a_client_that_writes_before_it_reads() {
    let system = System::start().await;
    let post = "POST /publish HTTP/1.1";
    let json = "content-type: application/json";
    let local = "host: localhost";
    for (status, kind, head) in [
        (413, "body-too-large", &[post, local, json] as &[_]),
        (
            415,
            "not-json-type",
            &[post, local, "content-type: text/plain"],
        ),
        (
            415,
            "unknown-coding",
            &[post, local, json, "content-encoding: br"],
        ),
        (
            403,
            "foreign-origin",
            &[post, local, json, "origin: http://evil.example"],
        ),
        (421, "unknown-host", &[post, "host: evil.example", json]),
        (400, "invalid-host", &[post, json]),
        (
            404,
            "not-found",
            &["POST /nothing/here HTTP/1.1", local, json],
        ),
        (
            405,
            "method-not-allowed",
            &["POST /events HTTP/1.1", local, json],
        ),
        (
            415,
            "not-cloudevents-type",
            &["POST /cloudevents HTTP/1.1", local, json],
        ),
        (
            415,
            "not-otlp-type",
            &["POST /v1/logs HTTP/1.1", local, "content-type: text/plain"],
        ),
        (413, "body-too-large", &["POST /publish HTTP/1.0", json]),
    ] {
        let length = format!("content-length: {LENGTH}");
        let head = [head, &[length.as_str()]].concat();
        let answer = answer(&system, &head, LENGTH).await;
        let line = format!(" {status} ");
        assert!(answer.lines().next().unwrap().contains(&line), "{answer}");
        assert!(
            answer.contains(&format!("urn:problem:{kind}\"")),
            "{answer}"
        );
    }
    assert_eq!(system.settled().await.counts(), [0, 0, 0]);
}

#[tokio::test]
async fn a_request_without_exactly_one_host_or_with_an_unknown_transfer_coding_is_refused() {
    let system = System::start().await;
    let close = "connection: close";
    for (status, head) in [
        (400, &["GET /stats HTTP/1.1", close] as &[_]),
        (
            400,
            &[
                "GET /stats HTTP/1.1",
                close,
                "host: localhost",
                "host: localhost",
            ],
        ),
        (400, &["GET /stats HTTP/1.1", close, "host:"]),
        (400, &["GET http://localhost/stats HTTP/1.1", close]),
        (
            200,
            &[
                "GET http://localhost/stats HTTP/1.1",
                close,
                "host: localhost",
            ],
        ),
        (
            421,
            &[
                "GET http://evil.example/stats HTTP/1.1",
                close,
                "host: localhost",
            ],
        ),
        (200, &["GET /stats HTTP/1.0"]),
        (200, &["GET /stats/ HTTP/1.1", close, "host: localhost."]),
        (204, &["OPTIONS / HTTP/1.0"]),
        (204, &["OPTIONS * HTTP/1.1", close, "host: localhost"]),
        (
            501,
            &[
                "POST /publish HTTP/1.1",
                "host: localhost",
                "transfer-encoding: gzip, chunked",
            ],
        ),
        (
            501,
            &[
                "POST /publish HTTP/1.1",
                "host: localhost",
                "transfer-encoding: gzip",
                "transfer-encoding: chunked",
            ],
        ),
    ] {
        let answer = answer(&system, head, 0).await;
        let line = format!(" {status} ");
        assert!(
            answer.lines().next().unwrap().contains(&line),
            "{head:?}: {answer}"
        );
        if status == 204 {
            assert!(answer.contains("OPTIONS"), "{answer}");
        }
    }
}

/// Python's urllib writes the whole request before it reads, as does Node's fetch.
#[tokio::test]
async fn pythons_urllib_reads_why_its_request_is_refused() {
    let Some(python) = std::env::var_os("E2E_PYTHON") else {
        eprintln!("skipped: E2E_PYTHON is not set");
        return;
    };
    let system = System::start().await;
    let script = "
import sys, urllib.error, urllib.request
for headers in ({'Content-Type': 'application/json'}, {'Content-Type': 'text/plain'}):
    request = urllib.request.Request(sys.argv[1], b' ' * 40 * 1024 * 1024, headers)
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request)
    except urllib.error.HTTPError as error:
        print(error.code, error.read().decode())
";
    let mut command = tokio::process::Command::new(python);
    command.args(["-c", script, &format!("{}/publish", system.api().url())]);
    let ended = command.output().await.expect("Python starts");
    let [out, err] = [ended.stdout, ended.stderr].map(|text| String::from_utf8(text).unwrap());
    let [too_large, wrong_type] = out.lines().collect::<Vec<_>>()[..] else {
        panic!("{out}{err}");
    };
    assert!(
        too_large.starts_with("413 ") && too_large.contains("body-too-large"),
        "{out}"
    );
    assert!(
        wrong_type.starts_with("415 ") && wrong_type.contains("not-json-type"),
        "{out}"
    );
}
