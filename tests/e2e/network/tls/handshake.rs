//! Which versions and protocols are spoken, and what is answered to a client that speaks none of them.

use e2e::{System, aggregator::Aggregator, authority::Authority, event::event, wait::DEADLINE};
use hyper::{Request, Version};
use rustls::version::{TLS12, TLS13};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Encrypted, client::Client};

#[tokio::test]
async fn both_versions_and_both_protocols_are_spoken_by_the_names_of_the_certificate() {
    let encrypted = Encrypted::start().await;
    let address = encrypted.system.api().address();
    for (tls, version) in [
        (&TLS12, rustls::ProtocolVersion::TLSv1_2),
        (&TLS13, rustls::ProtocolVersion::TLSv1_3),
    ] {
        for (protocols, http) in [
            (&["h2", "http/1.1"][..], Version::HTTP_2),
            (&["http/1.1"], Version::HTTP_11),
            (&[], Version::HTTP_11),
        ] {
            let client = Client::new(&encrypted.authority, &[tls], protocols, None);
            let stream = client.connect(&address).await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version));
            let got = client.get(&address, "/stats").await.unwrap();
            assert_eq!(
                (got.status.as_u16(), got.version),
                (200, http),
                "{}",
                got.body
            );
            let got = client.get(&address, "/nothing").await.unwrap();
            assert_eq!(got.status, 404, "{}", got.body);
        }
    }
    let other = Client::with(&Authority::default(), None);
    let refused = other.connect(&address).await.unwrap_err();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    let stored = encrypted.system.api().store(&[event("a", "1")]).await;
    assert_eq!(stored.status, 200, "{}", stored.text());
}

/// The begin of a handshake of this version, with old suites and a new one.
fn hello(version: u8) -> Vec<u8> {
    let mut body = vec![3, version];
    body.extend([7; 32]);
    // No session; three suites; no compression.
    body.extend([0, 0, 6, 0xC0, 0x2B, 0xC0, 0x09, 0x00, 0x2F, 1, 0]);
    // Signatures by ECDSA with SHA-256, and the curve P-256 with uncompressed points.
    body.extend([0, 22, 0, 13, 0, 4, 0, 2, 4, 3]);
    body.extend([0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0]);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[tokio::test]
async fn older_versions_are_refused_with_an_alert() {
    let encrypted = Encrypted::start().await;
    let address = encrypted.system.api().address();
    let answered = async |version| {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(&hello(version)).await.unwrap();
        let mut answer = [0; 7];
        timeout(DEADLINE, stream.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        answer
    };
    for version in [0, 1, 2] {
        let answer = answered(version).await;
        // An alert that is fatal: protocol_version.
        assert_eq!((answer[0], &answer[5..]), (21, &[2, 70][..]), "{answer:?}");
    }
    // The first record of the handshake of TLS 1.2.
    assert_eq!(answered(3).await[..3], [22, 3, 3]);
}

#[tokio::test]
async fn a_request_that_is_not_encrypted_is_answered_with_the_address_to_use() {
    let encrypted = Encrypted::start().await;
    let address = encrypted.system.api().address();
    let answered = async |request: String| {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(DEADLINE, stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        answer
    };
    let body = "x".repeat(100_000);
    for request in [
        format!("GET /stats HTTP/1.1\r\nhost: {address}\r\n\r\n"),
        format!(
            "POST /publish HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    ] {
        let answer = answered(request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains(&format!("https://{address}")), "{answer}");
        assert!(answer.contains("urn:problem:not-encrypted"), "{answer}");
    }
    let answer = answered("GET / HTTP/1.0\r\n\r\n".to_owned()).await;
    assert!(answer.contains("https://"), "{answer}");
    let answer = answered("GET / HTTP/1.1\r\nhost: <script>\r\n\r\n".to_owned()).await;
    assert!(!answer.contains("<script>"), "{answer}");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_given_up_and_others_do_not_wait_for_it() {
    let encrypted = Encrypted::start().await;
    let address = encrypted.system.api().address();
    let mut silent = TcpStream::connect(&address).await.unwrap();
    let mut begun = TcpStream::connect(&address).await.unwrap();
    begun.write_all(&hello(3)[..20]).await.unwrap();
    let client = Client::with(&encrypted.authority, None);
    assert_eq!(client.get(&address, "/livez").await.unwrap().status, 200);
    for stream in [&mut silent, &mut begun] {
        let mut answer = Vec::new();
        // Closed or reset, either way it ends.
        let _ = timeout(DEADLINE, stream.read_to_end(&mut answer))
            .await
            .expect("the connection ends");
    }
}

#[tokio::test]
async fn pages_are_of_https_and_their_cookies_are_only_for_it() {
    let encrypted = Encrypted::with(|directory, _| {
        let file = directory.path().join("tokens.toml");
        std::fs::write(&file, "").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, mode).unwrap();
        vec!["--tokens".to_owned(), file.to_str().unwrap().to_owned()]
    })
    .await;
    let address = encrypted.system.api().address();
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let client = Client::new(&encrypted.authority, rustls::ALL_VERSIONS, protocols, None);
        let mut open = client.open(&address).await.unwrap();
        for (origin, status) in [
            (format!("https://{address}"), 303),
            (format!("http://{address}"), 403),
        ] {
            let uri = match protocols {
                ["h2"] => format!("https://{address}/sign-out"),
                _ => "/sign-out".to_owned(),
            };
            let mut request = Request::post(uri).header("origin", origin);
            if protocols != ["h2"] {
                request = request.header("host", &address);
            }
            let request = request.body(http_body_util::Full::default()).unwrap();
            let got = open.send(request).await.unwrap();
            assert_eq!(got.status.as_u16(), status, "{}", got.body);
            if status == 303 {
                let cookie = got.headers["set-cookie"].to_str().unwrap();
                let is_of_host = cookie.starts_with("__Host-") && cookie.contains("; Path=/;");
                assert!(is_of_host && cookie.ends_with("; Secure"), "{cookie}");
            }
        }
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_stop_the_start() {
    let data = tempfile::tempdir().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (one, other) = (Authority::default(), Authority::default());
    let (one, other) = (one.service(&["localhost"]), other.service(&["localhost"]));
    for (name, text) in [
        ("cert", &one.certificate),
        ("key", &one.key),
        ("other", &other.key),
    ] {
        std::fs::write(path(name), text).unwrap();
    }
    for (certificate, key, expected) in [
        ("cert", "other", "do not belong together"),
        ("key", "key", "no certificate in PEM"),
        ("cert", "cert", "no private key in PEM"),
        ("cert", "none", "cannot read"),
    ] {
        let (certificate, key) = (path(certificate), path(key));
        let flags = ["--tls-cert", &certificate, "--tls-key", &key];
        let ended = Aggregator::refused("nats://127.0.0.1:1", data.path(), &flags).await;
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
    let plain = System::start().await;
    let client = Client::with(&Authority::default(), None);
    assert!(client.connect(&plain.api().address()).await.is_err());
}
