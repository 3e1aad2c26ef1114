//! The connection against scripted servers of various versions.

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
    publish::{Options, Outgoing, Publisher, Subjects},
    trace::Tracer,
};

/// Reached only if the test fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// How the fake server handles one connection.
#[derive(Clone, Copy)]
struct Script {
    version: &'static str,
    act: Act,
}

/// What the fake server does with a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Closes the connection.
    Cut,
    /// Confirms the message of the previous connection with this sequence number; ignores new ones.
    ConfirmEarlier(u64),
    /// Confirms the message with this sequence number.
    Confirm(u64),
}

/// The reply subject and the headers of each message received.
type Received = Arc<Mutex<Vec<(String, String)>>>;

/// A server that follows one script for each connection, and the last one for all further connections.
async fn fake(scripts: Vec<Script>) -> (Servers, Received, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let received = Received::default();
    let messages = Arc::clone(&received);
    let serving = tokio::spawn(async move {
        let mut scripts = scripts.into_iter().peekable();
        while let Some(script) = scripts.next() {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                // Ends when the client closes the connection, or as scripted.
                let _ = serve(socket, script, &messages).await;
                if scripts.peek().is_some() {
                    break;
                }
            }
        }
    });
    (
        address.parse().unwrap(),
        received,
        AbortOnDropHandle::new(serving),
    )
}

async fn serve(socket: TcpStream, script: Script, received: &Received) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    let info = format!(
        r#"INFO {{"server_id":"FAKE","version":"{}","proto":1,"headers":true,"max_payload":1048576}}"#,
        script.version
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
                let earlier = received.lock().unwrap().last().cloned();
                if let (Act::ConfirmEarlier(sequence), Some((reply, _))) = (script.act, earlier) {
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
                received.lock().unwrap().push((reply.clone(), headers));
                match script.act {
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

/// Waits until the connection is down for this reason.
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
    waited
        .expect("the server is refused")
        .expect("the channel is open");
}

#[tokio::test]
async fn a_server_that_is_too_old_is_replaced_by_another_one() {
    let scripts = ["2.9.10", "unknown", "2.10.6"].map(|version| Script {
        version,
        act: Act::Confirm(1),
    });
    let (servers, _, _serving) = fake(scripts.to_vec()).await;
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
async fn a_loss_is_detected_even_if_its_event_was_dropped() {
    let script = Script {
        version: "2.14.6",
        act: Act::Confirm(1),
    };
    let (servers, _, serving) = fake(vec![script]).await;
    let mut connection = Connection::open(&servers, "test").await.unwrap();
    timeout(DEADLINE, connection.connected()).await.unwrap();
    assert!(connection.is_connected());
    // From here on the connection gets no further events.
    let stale = connection.link.borrow().clone();
    let (_sender, link) = watch::channel(stale);
    let mut live = std::mem::replace(&mut connection.link, link);
    drop(serving);
    let lost = live.wait_for(|link| !link.connected);
    timeout(DEADLINE, lost).await.unwrap().unwrap();
    assert!(connection.link.borrow().connected);
    assert!(!connection.is_connected());
    assert!(!connection.link().connected);
}

/// A message is sent over a usable connection, which is lost. The next server is too old and confirms the message before
/// its version has been checked; that confirmation is ignored, and the message is published again.
#[tokio::test]
async fn a_puback_from_a_server_that_is_too_old_is_ignored() {
    let script = |version, act| Script { version, act };
    let (servers, received, _serving) = fake(vec![
        script("2.14.6", Act::Cut),
        script("2.9.10", Act::ConfirmEarlier(5)),
        script("2.14.6", Act::Confirm(7)),
    ])
    .await;
    let connection = Connection::open(&servers, "test").await.unwrap();
    let options = Options {
        stream: "EVENTS".to_owned(),
        max_events: 1,
        subjects: Subjects::default(),
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
    let receipt = publisher.submit(None, vec![event]).await.unwrap();
    let confirmed = timeout(DEADLINE, receipt.confirmed()).await.unwrap();
    assert_eq!(confirmed.unwrap().positions, [(7, 0)]);
    let messages = received.lock().unwrap().clone();
    let [(_, first), (_, again)] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert_eq!(first, again, "both have the same id");
    drop(publisher);
    driving.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_was_just_lost_is_waited_for() {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let never = Connection::open(&nowhere, "test").await.unwrap();
    assert!(!never.is_connected_soon().await);

    let script = |act| Script {
        version: "2.14.6",
        act,
    };
    let (servers, _, _serving) = fake(vec![script(Act::Cut), script(Act::Confirm(1))]).await;
    let connection = Connection::open(&servers, "test").await.unwrap();
    timeout(DEADLINE, connection.connected()).await.unwrap();
    let message = jetstream::message::PublishMessage::build().message_id("1");
    let sent = connection.jetstream().send_publish("events.a", message);
    let _unconfirmed = sent.await.unwrap();
    let lost = connection.changed_since(1);
    timeout(DEADLINE, lost).await.unwrap();
    assert!(connection.is_connected_soon().await);
    assert!(connection.is_still(2));
}
