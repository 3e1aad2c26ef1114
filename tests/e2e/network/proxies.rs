//! A refusal caused by a proxy that replaces `Host` names the remedy; and the documented configurations of nginx and
//! Caddy, with TLS and a login, forward everything.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use e2e::{
    System,
    api::{Answer, Api},
    caddy::Caddy,
    event::{array, event, events},
    nginx::Nginx,
    port,
    service::Service,
    wait::{eventually, holds},
    workspace,
};

/// The host name in the documented configurations.
const NAME: &str = "logs.example";

/// A user and a password, in the form that `curl -u` expects.
const LOGIN: &str = "ann:secret";

/// Longer than any request takes.
const DEADLINE: Duration = Duration::from_mins(1);

const JSON: (&str, &str) = ("content-type", "application/json");

/// Requeues the first rejected arrival, with the `Origin` that the live page at this address would send.
async fn requeue(api: &Api) -> Answer {
    let event = event("orders", "fixed").json();
    let headers = [JSON, ("origin", api.url())];
    api.post_with("/rejected/1/requeue", &headers, event).await
}

fn detail(answer: &Answer) -> String {
    answer.json()["detail"].as_str().unwrap().to_owned()
}

/// The first code block in this language in `compose/README.md`, with the documented address replaced by that of this
/// aggregator.
fn documented(language: &str, aggregator: &Api) -> String {
    let file = workspace::root().join("compose/README.md");
    let document = fs::read_to_string(file).unwrap();
    let (_, block) = document
        .split_once(&format!("```{language}\n"))
        .expect("the document has a block in this language");
    let (block, _) = block.split_once("```").unwrap();
    replaced(block, "127.0.0.1:8080", &aggregator.address())
}

/// Replaces every `from` in `text`, which must contain at least one.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from}: {text}");
    text.replace(from, to)
}

/// A proxy with TLS and a login.
struct Site {
    port: u16,
    /// The file with the CA certificate that curl must trust.
    authority: PathBuf,
}

impl Site {
    fn curl(&self, path: &str, arguments: &[&str]) -> Service {
        let mut command = Command::new("curl");
        command
            .args(["-sSN", "--noproxy", "*", "--max-time", "60", "--cacert"])
            .arg(&self.authority)
            .args(["--resolve", &format!("{NAME}:{}:127.0.0.1", self.port)])
            .args(arguments)
            .arg(format!("{}{path}", self.origin()));
        Service::start("curl", &mut command)
    }

    /// Waits until the proxy completes a TLS handshake: Caddy listens before it has issued its certificate.
    async fn has_certificate(&self) {
        eventually("the proxy has a certificate", async || {
            let ended = self.curl("/", &[]).ended(DEADLINE).await;
            holds(ended.code == Some(0), ended.stderr)
        })
        .await;
    }

    fn origin(&self) -> String {
        format!("https://{NAME}:{}", self.port)
    }

    /// Sends a request with curl, and returns the status and the body of the response.
    async fn response(&self, path: &str, arguments: &[&str]) -> (u16, String) {
        let status = [&["-w", "\n%{http_code}"], arguments].concat();
        let ended = self.curl(path, &status).ended(DEADLINE).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let (body, status) = ended.stdout.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// Like [`Self::response`], with the login.
    async fn with_login(&self, path: &str, arguments: &[&str]) -> (u16, String) {
        let arguments = [&["-u", LOGIN], arguments].concat();
        self.response(path, &arguments).await
    }

    /// Checks that the proxy requires the login, and that it forwards a change from the page, a large body, an export,
    /// a tail, and a foreign `Origin`, which the service refuses.
    async fn forwards_everything(&self, system: &System) {
        assert_eq!(self.response("/stats", &[]).await.0, 401);
        let json = ["-H", "content-type: application/json"];

        let own = format!("origin: {}", self.origin());
        let event = event("orders", "corrected").json();
        let requeue = [&json[..], &["-H", &own, "-d", &event]].concat();
        let (status, body) = self.with_login("/rejected/1/requeue", &requeue).await;
        assert_eq!(status, 200, "{body}");

        let foreign = ["-H", "origin: http://evil.example", "-d", "{}"];
        let foreign = [&json[..], &foreign].concat();
        assert_eq!(self.with_login("/publish", &foreign).await.0, 403);

        let mut large = array(&events("large", 0..10));
        large.push_str(&" ".repeat(15 * 1024 * 1024 - large.len()));
        let files = tempfile::tempdir().unwrap();
        let file = files.path().join("large.json");
        fs::write(&file, large).unwrap();
        let file = format!("@{}", file.display());
        let publish = [&json[..], &["--data-binary", &file]].concat();
        let (status, body) = self.with_login("/publish", &publish).await;
        assert_eq!(status, 200, "{body}");
        system.settled().await;

        let (status, lines) = self
            .with_login("/events?topic=large&format=ndjson", &[])
            .await;
        assert_eq!((status, lines.lines().count()), (200, 10), "{lines}");

        let tail = self.curl("/events/tail?topic=followed", &["-u", LOGIN]);
        let mut number = 0;
        eventually("the proxy forwards an event of the tail", async || {
            // Repeatedly, because a tail does not contain events published before it was opened.
            number += 1;
            let event = e2e::event::event("followed", &number.to_string());
            system.api().try_publish(&[event]).await?;
            let printed = tail.output();
            holds(
                printed.iter().any(|line| line.contains("\"followed\"")),
                &printed,
            )
        })
        .await;
    }
}

/// A system that accepts the documented host name, with one rejected arrival.
async fn system_for_a_site() -> System {
    let system = System::with(&["--allowed-hosts", NAME]).await;
    system.put("events.orders", "{").await;
    system.settled().await;
    system
}

#[tokio::test]
async fn a_host_replaced_by_a_proxy_is_named_in_the_refusal_with_the_remedy() {
    let system = System::start().await;
    system.put("events.orders", "{").await;
    system.settled().await;
    let Some(plain) = Nginx::before(system.api()).await else {
        return;
    };
    let refused = requeue(plain.api()).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let origin = format!("{:?}", plain.api().url());
    let host = format!("{:?}", system.api().address());
    for part in [&*origin, &host, "proxy_set_header Host $http_host"] {
        assert!(detail(&refused).contains(part), "{}", refused.text());
    }
    let upstream = format!("upstream logs {{ server {}; }}", system.api().address());
    let named = Nginx::with(&upstream, "location / { proxy_pass http://logs; }").await;
    let refused = named.unwrap().api().get("/stats").await.unwrap();
    assert_eq!(refused.status, 421, "{}", refused.text());
    for part in ["\"logs\"", "proxy_set_header Host $http_host"] {
        assert!(detail(&refused).contains(part), "{}", refused.text());
    }
}

#[tokio::test]
async fn the_documented_nginx_site_forwards_everything() {
    let system = system_for_a_site().await;
    let port = port::free();
    let files = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let path = |name: &str| files.path().join(name);
    fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    fs::write(path("logins"), LOGIN.replacen(':', ":{PLAIN}", 1)).unwrap();

    let mut site = documented("nginx", system.api());
    let listen = format!("listen 127.0.0.1:{port}");
    site = replaced(&site, "listen 443", &listen);
    for (installed, name) in [
        ("/etc/ssl/logs.example.pem", "cert.pem"),
        ("/etc/ssl/logs.example.key", "key.pem"),
        ("/etc/nginx/logs.htpasswd", "logins"),
    ] {
        site = replaced(&site, installed, path(name).to_str().unwrap());
    }
    let Some(_nginx) = Nginx::with(&site, "").await else {
        return;
    };
    let site = Site {
        port,
        authority: path("cert.pem"),
    };
    site.forwards_everything(&system).await;
}

#[tokio::test]
async fn the_documented_caddy_site_forwards_everything() {
    let (user, password) = LOGIN.split_once(':').unwrap();
    let Some(hash) = Caddy::hash(password) else {
        return;
    };
    let system = system_for_a_site().await;
    let port = port::free();
    let mut site = documented("caddy", system.api());
    site = replaced(&site, NAME, &format!("{NAME}:{port}"));
    site = replaced(&site, "ann HASH", &format!("{user} {hash}"));
    let Some(caddy) = Caddy::with(&site, port).await else {
        return;
    };
    let site = Site {
        port,
        authority: caddy.authority(),
    };
    site.has_certificate().await;
    site.forwards_everything(&system).await;
}
