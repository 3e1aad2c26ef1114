//! The certificates of the broker and of its clients are replaced, and the authority that issued them, while events are published.

use std::{
    fs::{create_dir_all, read_to_string, write},
    path::{Path, PathBuf},
};

use e2e::{
    aggregator::Aggregator,
    authority::{Authority, Issued, LOCAL, text},
    broker::{
        process::{self, Server},
        users::{Users, options},
    },
    load::Load,
    port,
    publisher::Publisher,
    service::{Service, Signal},
    wait::{eventually, holds},
};

/// The files of the broker or of one of its clients.
struct Party(PathBuf);

impl Party {
    fn new(directory: &Path, name: &str) -> Self {
        let directory = directory.join(name);
        create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Replaces the authorities that it trusts.
    fn trust(&self, authorities: &[&Authority]) {
        let authorities = authorities.iter().map(|authority| authority.pem());
        write(self.file("ca.pem"), authorities.collect::<String>()).unwrap();
    }

    /// Replaces its certificate and the key.
    fn show(&self, issued: &Issued) {
        write(self.file("cert.pem"), &issued.certificate).unwrap();
        write(self.file("key.pem"), &issued.key).unwrap();
    }

    /// The flags of a client with the user's password.
    fn flags(&self, password: &Path) -> Vec<String> {
        let flags = [
            ("--nats-password-file", password.to_owned()),
            ("--nats-ca", self.file("ca.pem")),
            ("--nats-cert", self.file("cert.pem")),
            ("--nats-key", self.file("key.pem")),
        ];
        let flags = flags
            .iter()
            .flat_map(|(flag, file)| [*flag, text(file)].map(str::to_owned));
        flags.collect()
    }
}

/// A broker with `compose/nats-tls.conf` and its clients.
struct World {
    users: Users,
    broker: Server,
    port: u16,
    parties: [Party; 3],
    aggregator: Aggregator,
    publisher: Publisher,
    _data: tempfile::TempDir,
}

const CLIENTS: [&str; 2] = ["aggregator", "publisher"];

impl World {
    /// Starts all with certificates of this authority.
    async fn start(program: &Path, authority: &Authority) -> Self {
        let users = Users::new();
        let parties =
            ["nats", "aggregator", "publisher"].map(|name| Party::new(users.path(), name));
        let [nats, client, sender] = &parties;
        for party in &parties {
            party.trust(&[authority]);
        }
        nats.show(&authority.service(&LOCAL));
        client.show(&authority.client("aggregator"));
        sender.show(&authority.client("publisher"));
        let configuration = users.path().join("nats-tls.conf");
        let mut settings = read_to_string(&configuration).unwrap();
        for (variable, file) in [
            ("$NATS_CERT", "cert.pem"),
            ("$NATS_KEY", "key.pem"),
            ("$NATS_CA", "ca.pem"),
        ] {
            // In a process of their own, the paths come from the environment.
            settings = settings.replace(variable, text(&nats.file(file)));
        }
        write(&configuration, settings).unwrap();
        let port = port::free();
        let broker = Server::start_program(program, port, &["--config", text(&configuration)]);
        let data = tempfile::tempdir().unwrap();
        let url = |user: &str| format!("tls://{user}@127.0.0.1:{port}");
        let flags = client.flags(&users.password_file("aggregator"));
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let aggregator = Aggregator::start(&url("aggregator"), data.path(), &flags).await;
        aggregator.healthy().await;
        let api = aggregator.api().url().to_owned();
        let generate = [
            "generate", "--count", "0", "--rate", "500", "--verify", &api,
        ];
        let generate = generate.into_iter().chain(["--log-level", "info"]);
        let flags = sender.flags(&users.password_file("publisher"));
        let flags = flags.iter().map(String::as_str);
        let arguments: Vec<_> = generate.chain(flags).collect();
        let publisher = Publisher::start(&url("publisher"), &arguments);
        Self {
            users,
            broker,
            port,
            parties,
            aggregator,
            publisher,
            _data: data,
        }
    }

    fn services(&mut self) -> [&mut Service; 2] {
        [self.aggregator.service(), self.publisher.service()]
    }

    /// Waits until both clients have connected this often.
    async fn connected(&mut self, times: usize) {
        for service in self.services() {
            eventually("a client has connected", async || {
                let log = service.log().join("\n");
                holds(connects(&log) == times, log)
            })
            .await;
        }
    }

    /// How the broker treats a client with these certificates.
    async fn ask(&self, trusted: &Authority, own: &Issued) -> Result<(), String> {
        let stranger = Party::new(self.users.path(), "stranger");
        stranger.trust(&[trusted]);
        stranger.show(own);
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| stranger.file(name));
        let connected = options()
            .require_tls(true)
            .add_root_certificates(stranger.file("ca.pem"))
            .add_client_certificate(cert, key)
            .connect(format!("tls://127.0.0.1:{}", self.port))
            .await;
        connected.map(drop).map_err(|err| err.to_string())
    }

    /// Has the broker read its files, and waits until it treats a client with these certificates as it must.
    async fn reload(&mut self, trusted: &Authority, own: &Issued, is_accepted: bool) {
        self.broker.signal(Signal::HUP);
        eventually("the broker uses its new files", async || {
            let asked = self.ask(trusted, own).await;
            holds(asked.is_ok() == is_accepted, asked)
        })
        .await;
    }

    /// Ends all connections of the clients: their passwords are replaced.
    fn disconnect(&mut self) {
        for user in CLIENTS {
            self.users.replace(user);
        }
        self.broker.signal(Signal::HUP);
    }

    /// Waits until more events of both ways have been counted.
    async fn progress(&mut self, load: &mut Load) {
        load.answers(50).await;
        let received = self.aggregator.api().stats().await.unwrap().received;
        self.aggregator
            .api()
            .received_at_least(received + 500)
            .await;
        load.answers(50).await;
    }
}

fn connects(log: &str) -> usize {
    log.matches("connected to the broker").count()
}

/// First all trust both authorities, then all get certificates of the new one, and then the old one is trusted no longer. After each
/// step the connections that are open carry events as before, and new ones are made.
#[tokio::test]
async fn certificates_and_their_authority_are_replaced_without_a_lost_event_or_a_failed_request() {
    for program in process::programs() {
        let [old, new] = [(); 2].map(|()| Authority::default());
        let mut world = World::start(&program, &old).await;
        let mut load = Load::default();
        for topic in ["http-a", "http-b"] {
            load.publishes(world.aggregator.api(), topic);
        }
        world.connected(1).await;
        world.progress(&mut load).await;
        let (own, next) = (old.client("tests"), new.client("tests"));
        assert!(world.ask(&old, &next).await.is_err());

        for party in &world.parties {
            party.trust(&[&old, &new]);
        }
        world.reload(&old, &next, true).await;
        world.progress(&mut load).await;
        world.connected(1).await;
        world.disconnect();
        world.connected(2).await;
        world.progress(&mut load).await;

        let [nats, client, sender] = &world.parties;
        nats.show(&new.service(&LOCAL));
        client.show(&new.client("aggregator"));
        sender.show(&new.client("publisher"));
        world.reload(&new, &own, true).await;
        world.progress(&mut load).await;
        world.connected(2).await;
        world.disconnect();
        world.connected(3).await;
        world.progress(&mut load).await;

        for party in &world.parties {
            party.trust(&[&new]);
        }
        world.reload(&new, &own, false).await;
        assert!(world.ask(&old, &next).await.is_err());
        world.progress(&mut load).await;
        world.connected(3).await;
        world.disconnect();
        world.connected(4).await;
        world.progress(&mut load).await;

        let published = load.ended().await;
        let World {
            mut aggregator,
            publisher,
            ..
        } = world;
        let run = publisher.finished().await;
        run.succeeded();
        let stats = aggregator.api().settled().await.stats;
        assert_eq!(stats.received, published + run.count("sent"));
        assert_eq!(stats.unique_processed, published + run.count("unique"));
        aggregator.healthy().await;
        let log = aggregator.service().log().join("\n");
        assert!(!log.contains("PRIVATE KEY"), "{log}");
    }
}
