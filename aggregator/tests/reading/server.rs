//! A server with scripted answers.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread::{JoinHandle, spawn},
};

/// The heads of the requests, and the last connection, which is open until it is dropped.
type Served = (Vec<String>, Option<TcpStream>);

/// Answers each connection in turn, closes all but the last, and returns the heads of the requests.
pub fn serve(answers: Vec<String>) -> (String, JoinHandle<Served>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = spawn(move || {
        let (mut heads, mut last) = (Vec::new(), None);
        for answer in answers {
            // Close it before waiting for the next one.
            drop(last.take());
            let (mut stream, _) = listener.accept().unwrap();
            heads.push(head(&mut stream));
            stream.write_all(answer.as_bytes()).unwrap();
            last = Some(stream);
        }
        (heads, last)
    });
    (url, server)
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Path and query of a request.
pub fn target(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

/// A complete answer.
pub fn answer(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// The first chunk of an answer that does not end.
pub fn partial(kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n"
    )
}
