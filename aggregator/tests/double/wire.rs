//! The part of the NATS protocol that the client and the double use.

use bytes::{Buf, Bytes, BytesMut};

/// An operation of the client.
#[derive(Debug)]
pub enum Op {
    Connect,
    Ping,
    Pong,
    Subscribe {
        subject: String,
        sid: u64,
    },
    Unsubscribe {
        sid: u64,
    },
    /// Headers are dropped.
    Publish {
        subject: String,
        reply: Option<String>,
        payload: Bytes,
    },
}

/// Takes one operation from the front of `buffer`; `None` if it is incomplete.
///
/// # Errors
/// The line that the double does not understand.
pub fn read(buffer: &mut BytesMut) -> Result<Option<Op>, String> {
    let Some(length) = buffer.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let unknown = || format!("the client said {line:?}");
    let number = |word: &str| word.parse().map_err(|_| unknown());
    let (verb, words) = words.split_first().ok_or_else(unknown)?;
    let op = match (*verb, words) {
        ("CONNECT", _) => Op::Connect,
        ("PING", _) => Op::Ping,
        ("PONG", _) => Op::Pong,
        ("SUB", [subject, sid] | [subject, _, sid]) => Op::Subscribe {
            subject: (*subject).to_owned(),
            sid: number(sid)?,
        },
        ("UNSUB", [sid] | [sid, _]) => Op::Unsubscribe { sid: number(sid)? },
        ("PUB" | "HPUB", [subject, rest @ ..]) => {
            let has_headers = *verb == "HPUB";
            let (reply, sizes) =
                rest.split_at(rest.len().saturating_sub(1 + usize::from(has_headers)));
            let sizes = sizes
                .iter()
                .map(|word| word.parse())
                .collect::<Result<Vec<usize>, _>>();
            let sizes = sizes.map_err(|_| unknown())?;
            let total = *sizes.last().ok_or_else(unknown)?;
            let headers = if has_headers { sizes[0] } else { 0 };
            if buffer.len() < length + 2 + total + 2 {
                return Ok(None);
            }
            buffer.advance(length + 2);
            buffer.advance(headers);
            let payload = buffer.split_to(total - headers).freeze();
            buffer.advance(2);
            return Ok(Some(Op::Publish {
                subject: (*subject).to_owned(),
                reply: reply.first().map(|reply| (*reply).to_owned()),
                payload,
            }));
        }
        _ => return Err(unknown()),
    };
    buffer.advance(length + 2);
    Ok(Some(op))
}

/// The double's first message.
pub fn info(port: u16, version: &str) -> Bytes {
    let info = serde_json::json!({
        "server_id": "DOUBLE", "server_name": "double", "version": version, "proto": 1, "go": "none",
        "host": "127.0.0.1", "port": port, "headers": true, "max_payload": 1_048_576, "jetstream": true,
    });
    format!("INFO {info}\r\n").into()
}

pub const PONG: Bytes = Bytes::from_static(b"PONG\r\n");

/// A message for the subscription `sid`.
pub fn message(subject: &str, sid: u64, reply: Option<&str>, payload: &[u8]) -> Bytes {
    let reply = reply.map(|reply| format!("{reply} ")).unwrap_or_default();
    let mut frame =
        BytesMut::from(format!("MSG {subject} {sid} {reply}{}\r\n", payload.len()).as_bytes());
    frame.extend_from_slice(payload);
    frame.extend_from_slice(b"\r\n");
    frame.freeze()
}

/// A message without a body that carries a status such as `100 Idle Heartbeat`.
pub fn status(subject: &str, sid: u64, status: &str) -> Bytes {
    let headers = format!("NATS/1.0 {status}\r\n\r\n");
    let length = headers.len();
    format!("HMSG {subject} {sid} {length} {length}\r\n{headers}\r\n").into()
}

/// Whether a subscription to `pattern` receives messages on `subject`.
pub fn matches(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            (wanted, Some(token)) if wanted == "*" || wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}
