//! Servers of all versions, scripted, and what comes of what they say.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::{
    event::{EventId, Topic},
    publish::{Options, Outgoing, Publisher},
    trace::Tracer,
};

/// Only what never happens takes as long.
const DEADLINE: Duration = Duration::from_secs(60);

/// One connection to the fake server.
#[derive(Clone, Copy)]
struct Life {
    version: &'static str,
    act: Act,
}

/// What it does with a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Ends the connection.
    Cut,
    /// Confirms the one that came over the connection before, under this sequence number, and takes none.
    ConfirmEarlier(u64),
    /// Confirms it, under this sequence number.
    Confirm(u64),
}

/// What has come: the reply subject and the headers of each message.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// A server whose connections go as `lives` say, the last of them for ever.
async fn fake(lives: Vec<Life>) -> (Servers, Seen, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Seen::default();
    let messages = Arc::clone(&seen);
    let serving = tokio::spawn(async move {
        let mut lives = lives.into_iter().peekable();
        while let Some(life) = lives.next() {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                // Ends when the client ends it, or as the act says.
                let _ = live(socket, life, &messages).await;
                if lives.peek().is_some() {
                    break;
                }
            }
        }
    });
    (
        address.parse().unwrap(),
        seen,
        AbortOnDropHandle::new(serving),
    )
}

async fn live(socket: TcpStream, life: Life, seen: &Seen) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    let info = format!(
        r#"INFO {{"server_id":"FAKE","version":"{}","proto":1,"headers":true,"max_payload":1048576}}"#,
        life.version
    );
    socket.write_all(format!("{info}\r\n").as_bytes()).await?;
    let mut inboxes: Vec<(String, String)> = Vec::new();
    let mut text = String::new();
    loop {
        text.clear();
        if socket.read_line(&mut text).await? == 0 {
            return Ok(());
        }
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let mut confirm = None;
        match words[..] {
            ["PING"] => socket.write_all(b"PONG\r\n").await?,
            ["SUB", inbox, sid] => {
                inboxes.push((inbox.trim_end_matches('*').to_owned(), sid.to_owned()));
                let earlier = seen.lock().unwrap().last().cloned();
                if let (Act::ConfirmEarlier(sequence), Some((reply, _))) = (life.act, earlier) {
                    confirm = Some((reply, sequence));
                }
            }
            ["HPUB", _, reply, headers, total] => {
                let reply = reply.to_owned();
                let (headers, total): (usize, usize) =
                    (headers.parse().unwrap(), total.parse().unwrap());
                let mut body = vec![0; total + 2];
                socket.read_exact(&mut body).await?;
                let headers = String::from_utf8(body[..headers].to_vec()).unwrap();
                seen.lock().unwrap().push((reply.clone(), headers));
                match life.act {
                    Act::Cut => return Ok(()),
                    Act::ConfirmEarlier(_) => {}
                    Act::Confirm(sequence) => confirm = Some((reply, sequence)),
                }
            }
            _ => {}
        }
        if let Some((reply, sequence)) = confirm {
            let sid = inboxes.iter().find(|(inbox, _)| reply.starts_with(inbox));
            let Some((_, sid)) = sid else { continue };
            let ack = format!(r#"{{"stream":"EVENTS","seq":{sequence}}}"#);
            let message = format!("MSG {reply} {sid} {}\r\n{ack}\r\n", ack.len());
            socket.write_all(message.as_bytes()).await?;
        }
    }
}

/// Waits until there is no connection, for this reason.
async fn refused(connection: &Connection, reason: &str) {
    let mut link = connection.link.clone();
    let is_refused = |link: &Link| {
        !link.connected
            && link
                .last_error
                .as_deref()
                .is_some_and(|err| err.contains(reason))
    };
    let waited = timeout(DEADLINE, link.wait_for(is_refused)).await;
    waited.expect("it is refused").expect("it is open");
}

#[tokio::test]
async fn a_server_that_is_too_old_is_left_for_another_one() {
    let lives = ["2.9.10", "unknown", "2.10.6"].map(|version| Life {
        version,
        act: Act::Confirm(1),
    });
    let (servers, _, _serving) = fake(lives.to_vec()).await;
    let connection = Connection::open(&servers, "test").await.unwrap();
    for version in ["2.9.10", "unknown"] {
        refused(&connection, version).await;
        assert!(!connection.is_connected());
    }
    let connects = timeout(DEADLINE, connection.connected()).await.unwrap();
    assert_eq!(connects, 3);
    assert!(connection.is_connected());
    assert_eq!(connection.link().last_error, None);
}

#[tokio::test]
async fn a_loss_whose_event_was_dropped_is_seen_all_the_same() {
    let life = Life {
        version: "2.14.6",
        act: Act::Confirm(1),
    };
    let (servers, _, serving) = fake(vec![life]).await;
    let mut connection = Connection::open(&servers, "test").await.unwrap();
    timeout(DEADLINE, connection.connected()).await.unwrap();
    assert!(connection.is_connected());
    // Nothing is seen of what becomes of it from here on.
    let stale = connection.link.borrow().clone();
    let (_unseen, link) = watch::channel(stale);
    let mut seen = std::mem::replace(&mut connection.link, link);
    drop(serving);
    let lost = seen.wait_for(|link| !link.connected);
    timeout(DEADLINE, lost).await.unwrap().unwrap();
    assert!(connection.link.borrow().connected);
    assert!(!connection.is_connected());
    assert!(!connection.link().connected);
}

/// A message goes out over a good connection, which is lost. The next server is too old and confirms it, before anybody
/// had the time to look at its version; its word counts for nothing, and the message is published again.
#[tokio::test]
async fn a_puback_of_a_server_that_is_too_old_confirms_nothing() {
    let life = |version, act| Life { version, act };
    let (servers, seen, _serving) = fake(vec![
        life("2.14.6", Act::Cut),
        life("2.9.10", Act::ConfirmEarlier(5)),
        life("2.14.6", Act::Confirm(7)),
    ])
    .await;
    let connection = Connection::open(&servers, "test").await.unwrap();
    let options = Options {
        stream: "EVENTS".to_owned(),
        max_events: 1,
        linger: Duration::ZERO,
        observer: None,
        tracer: Tracer::off(),
    };
    let (publisher, driver) = Publisher::new(connection.clone(), options);
    let driving = tokio::spawn(driver.run());
    let event = Outgoing {
        topic: Topic::new("topic").unwrap(),
        event_id: EventId::new("id").unwrap(),
        json: "{}".into(),
    };
    let receipt = publisher.submit(vec![event]).await.unwrap();
    let confirmed = timeout(DEADLINE, receipt.confirmed()).await.unwrap();
    assert_eq!(confirmed.unwrap().places, [(7, 0)]);
    let messages = seen.lock().unwrap().clone();
    let [(_, first), (_, again)] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert_eq!(first, again, "under the same id");
    drop(publisher);
    driving.await.unwrap();
}
