//! Certificates that are replaced while requests are answered.

use std::{
    fs::write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use e2e::{
    authority::LOCAL,
    service::Signal,
    wait::{eventually, holds},
};
use tokio::task::JoinSet;

use super::{Encrypted, client::Client};

/// The certificate of a new connection, in DER.
async fn shown(encrypted: &Encrypted) -> Vec<u8> {
    let client = Client::with(&encrypted.authority, None);
    let address = encrypted.system.api().address();
    let stream = client.connect(&address).await.expect("a handshake");
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    certificates[0].to_vec()
}

#[tokio::test]
async fn a_certificate_is_replaced_under_load_without_a_failed_request() {
    let mut encrypted = Encrypted::start().await;
    let address = encrypted.system.api().address();
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let mut load = JoinSet::new();
    for protocols in [&["h2"][..], &["http/1.1"]] {
        for keeps_open in [true, false] {
            for _ in 0..2 {
                let client =
                    Client::new(&encrypted.authority, rustls::ALL_VERSIONS, protocols, None);
                let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
                let address = address.clone();
                load.spawn(async move {
                    let mut open = client.open(&address).await?;
                    while !stop.load(Ordering::Relaxed) {
                        if !keeps_open {
                            open = client.open(&address).await?;
                        }
                        let got = open.get("/stats").await?;
                        holds(got.status == 200, &got.body)?;
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok::<_, String>(())
                });
            }
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
        let least = answered.load(Ordering::Relaxed) + 50;
        eventually("the new certificate is shown", async || {
            holds(shown(&encrypted).await != before, "the old one")
        })
        .await;
        eventually("requests are answered", async || {
            let answered = answered.load(Ordering::Relaxed);
            holds(answered >= least, answered)
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    for failed in load.join_all().await {
        failed.expect("no request fails");
    }
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
    assert!(!log.contains("PRIVATE KEY"), "{log}");
}
