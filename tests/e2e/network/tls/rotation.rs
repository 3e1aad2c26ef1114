//! Certificates that are replaced while requests are answered.

use std::{
    fs::write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use e2e::{
    authority::{Authority, Issued, LOCAL},
    books::Stats,
    event::event,
    load::Load,
    service::Signal,
    wait::{eventually, holds},
};
use tokio::sync::watch;

use super::{Encrypted, client::Client, identity::guarded};

/// The certificate of a new connection, in DER.
async fn shown(encrypted: &Encrypted) -> Vec<u8> {
    let client = Client::with(&encrypted.authority, None);
    let address = encrypted.system.api().address();
    let stream = client.connect(&address).await.expect("a handshake");
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    certificates[0].to_vec()
}

/// The protocols of clients.
const PROTOCOLS: [&[&str]; 2] = [&["h2"], &["http/1.1"]];

#[tokio::test]
async fn a_certificate_is_replaced_under_load_without_a_failed_request() {
    let mut encrypted = Encrypted::start().await;
    let address = encrypted.system.api().address();
    let mut load = Load::default();
    for protocols in PROTOCOLS {
        for keeps_open in [true, false, true, false] {
            let client = Client::new(&encrypted.authority, rustls::ALL_VERSIONS, protocols, None);
            let address = address.clone();
            load.add(|progress| async move {
                let mut open = client.open(&address).await?;
                while progress.goes_on() {
                    if !keeps_open {
                        open = client.open(&address).await?;
                    }
                    let got = open.get("/stats").await?;
                    holds(got.status == 200, &got.body)?;
                    progress.answered();
                }
                Ok(())
            });
        }
    }
    for is_asked in [false, true, false] {
        let before = shown(&encrypted).await;
        encrypted
            .files
            .replace(&encrypted.authority.service(&LOCAL));
        if is_asked {
            encrypted.system.aggregator.service().signal(Signal::HUP);
        }
        eventually("the new certificate is shown", async || {
            holds(shown(&encrypted).await != before, "the old one")
        })
        .await;
        load.answers(50).await;
    }
    load.ended().await;
}

/// The scopes of the clients whose certificates are replaced.
const SHIPPER: &str = "[[token]]\nname = \"shipper\"\nsubject = \"CN=shipper,O=Example\"\npublish = [\"*\"]\nread = [\"*\"]\n";

/// When a client uses the certificate of the new authority.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moves {
    /// With a new connection for each request.
    AtOnce,
    /// With one new connection.
    Once,
    /// Never: its connection stays open.
    Never,
}

/// The two authorities are in one file until every client has a certificate of the new one.
#[tokio::test]
async fn the_authority_of_client_certificates_is_replaced_under_load_without_a_failed_request() {
    let new = Authority::default();
    let mut encrypted = guarded(SHIPPER).await;
    let address = encrypted.system.api().address();
    let trusted = encrypted.directory.path().join("clients.pem");
    let (old, service) = (encrypted.authority.client("shipper"), &encrypted.authority);
    let own = [old, new.client("shipper")];
    let (moved, _) = watch::channel(0_usize);
    let (mut load, moving) = (Load::default(), Arc::new(AtomicU64::new(0)));
    let mut clients = 0;
    for protocols in PROTOCOLS {
        let with = |own| Client::new(service, rustls::ALL_VERSIONS, protocols, Some(own));
        for moves in [Moves::AtOnce, Moves::AtOnce, Moves::Once, Moves::Never] {
            let (number, address, authority) = (clients, address.clone(), moved.subscribe());
            let (with, moving) = (own.each_ref().map(with), Arc::clone(&moving));
            clients += 1;
            load.add(|progress| async move {
                let mut open = with[0].open(&address).await?;
                let mut last = 0;
                for event in 0.. {
                    if !progress.goes_on() {
                        break;
                    }
                    let current = *authority.borrow();
                    let has_moved = current != last;
                    last = current;
                    if moves == Moves::AtOnce || (moves == Moves::Once && has_moved) {
                        open = with[current].open(&address).await?;
                    }
                    if has_moved {
                        moving.fetch_add(1, Ordering::Relaxed);
                    }
                    let event = self::event(&format!("client-{number}"), &event.to_string());
                    open.publish(&address, &event).await?;
                    progress.answered();
                }
                Ok(())
            });
        }
    }
    let accepts = async |own: &Issued, wanted: bool| {
        let client = Client::with(service, Some(own));
        eventually("the authorities are taken", async || {
            let got = client.get(&address, "/events").await;
            let is_accepted = got.as_ref().is_ok_and(|got| got.status == 200);
            holds(is_accepted == wanted, got)
        })
        .await;
    };
    accepts(&own[0], true).await;
    load.answers(50).await;
    write(&trusted, format!("{}{}", service.pem(), new.pem())).unwrap();
    accepts(&own[1], true).await;
    load.answers(50).await;
    moved.send_replace(1);
    eventually("every client has moved", async || {
        let moving = moving.load(Ordering::Relaxed);
        holds(moving == clients, moving)
    })
    .await;
    write(&trusted, new.pem()).unwrap();
    accepts(&own[0], false).await;
    accepts(&own[1], true).await;
    // Some by connections that began with the old certificate.
    load.answers(50).await;
    let published = load.ended().await;
    let client = Client::with(service, Some(&own[1]));
    let counted = eventually("every event is stored", async || {
        let stats = client.get(&address, "/stats").await?;
        let stats: Stats = serde_json::from_str(&stats.body).unwrap();
        holds(stats.pending == Some(0), &stats)?;
        Ok([stats.received, stats.unique_processed])
    })
    .await;
    assert_eq!(counted, [published; 2]);
    assert!(encrypted.system.aggregator.service().is_running());
}

#[tokio::test]
async fn broken_files_keep_the_certificate_and_are_reported_until_they_are_repaired() {
    let mut encrypted = Encrypted::start().await;
    let before = shown(&encrypted).await;
    let reported = async |expected: &str| {
        eventually("the files are reported", async || {
            let health = encrypted.system.api().get("/health").await?;
            let notice = health.json()["notices"]["tls"].to_string();
            let is_reported = health.status == 200 && notice.contains(expected);
            holds(is_reported, health.text())
        })
        .await;
    };
    write(&encrypted.files.certificate, "no certificate").unwrap();
    reported("no certificate in PEM; the certificate that was read before").await;
    let other = encrypted.authority.service(&LOCAL);
    write(&encrypted.files.certificate, &other.certificate).unwrap();
    reported("do not belong together").await;
    assert_eq!(shown(&encrypted).await, before);
    write(&encrypted.files.key, &other.key).unwrap();
    reported("null").await;
    assert_ne!(shown(&encrypted).await, before);
    assert!(encrypted.system.aggregator.service().is_running());
    let log = encrypted.system.aggregator.service().log().join("\n");
    assert!(log.contains("do not belong together"), "{log}");
    // At the start, and when they were repaired.
    let taken = log.matches("read the certificate").count();
    assert_eq!(taken, 2, "{log}");
    assert!(!log.contains("PRIVATE KEY"), "{log}");
}
