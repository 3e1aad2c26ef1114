//! The compose file: its content, and that it runs.

use e2e::{
    api::Api,
    broker::users::USERS,
    compose::{Project, commands},
    event::{event, events},
    wait::{eventually, holds, within},
};
use serde_json::Value;

/// More than it takes to start three containers and send 20,000 events on a slow machine.
const DEADLINE: std::time::Duration = std::time::Duration::from_mins(3);

/// The compose commands; if there is none, prints why nothing is tested.
fn found() -> Vec<String> {
    commands().unwrap_or_else(|reason| {
        println!("{reason}; the compose file is not tested here");
        Vec::new()
    })
}

#[test]
fn every_installed_version_of_compose_accepts_the_file() {
    for command in found() {
        let project = Project::new(&command);
        for (file, brokers) in FILES {
            let shown = project.run(&["-f", file, "config"]);
            for service in brokers.iter().chain(&["aggregator", "publisher"]) {
                assert!(shown.contains(&format!("\n  {service}:")), "{shown}");
            }
            // A number of aggregators needs no option of the command.
            let scale = usize::from(brokers.len() > 1);
            assert_eq!(shown.matches("\n    scale: 3\n").count(), scale, "{shown}");
        }
    }
}

/// The service that clients reach: the load balancer, where there are several aggregators.
fn entrance(brokers: &[&str]) -> &'static str {
    if brokers.len() > 1 {
        "balancer"
    } else {
        "aggregator"
    }
}

/// The compose files, and the servers of the broker in each.
const FILES: [(&str, &[&str]); 2] = [
    ("compose/compose.yaml", &["nats"]),
    ("compose/cluster.yaml", &["nats-1", "nats-2", "nats-3"]),
];

/// The files as interpreted by version 2, the only one that prints them as JSON, and the servers of the broker in each.
fn parsed() -> Vec<(Value, &'static [&'static str])> {
    if !found().iter().any(|command| command == "docker compose") {
        println!("there is no docker compose v2; what the files say is not tested here");
        return Vec::new();
    }
    let parse = |(file, brokers): (&str, _)| {
        let shown = Project::new("docker compose").run(&["-f", file, "config", "--format", "json"]);
        (serde_json::from_str(&shown).unwrap(), brokers)
    };
    FILES.map(parse).into()
}

#[test]
fn only_the_entrance_is_published_and_only_on_loopback() {
    for (file, brokers) in parsed() {
        for (name, service) in file["services"].as_object().unwrap() {
            let ports = service["ports"].as_array().cloned().unwrap_or_default();
            if name != entrance(brokers) {
                assert!(ports.is_empty(), "{name}: {ports:?}");
                continue;
            }
            assert_eq!(ports.len(), 1, "{ports:?}");
            assert_eq!(ports[0]["host_ip"], "127.0.0.1");
            assert_eq!(ports[0]["target"], 8080);
        }
        let networks = |service: &str| -> Vec<String> {
            let networks = file["services"][service]["networks"].as_object().unwrap();
            networks.keys().cloned().collect()
        };
        for network in brokers.iter().flat_map(|broker| networks(broker)) {
            assert_eq!(file["networks"][&network]["internal"], true, "{network}");
            assert!(networks("aggregator").contains(&network));
        }
        if brokers.len() > 1 {
            // Only the aggregators reach the database.
            assert_eq!(networks("postgres"), ["database"]);
            for (name, _) in file["services"].as_object().unwrap() {
                let networks = file["services"][name]["networks"].as_object();
                let is_reaching = networks.is_some_and(|all| all.contains_key("database"));
                let expected = ["aggregator", "postgres"].contains(&name.as_str());
                assert_eq!(is_reaching, expected, "{name}");
            }
            assert_eq!(file["networks"]["database"]["internal"], true);
        }
    }
}

#[test]
fn no_service_has_more_rights_than_it_needs() {
    for (file, brokers) in parsed() {
        let services = file["services"].as_object().unwrap();
        assert!(services.len() > 5, "{}", services.len());
        for (name, service) in services {
            let user = service["user"].as_str().unwrap();
            assert!(
                !user.starts_with('0') && !user.starts_with("root"),
                "{name}: {user}"
            );
            assert_eq!(service["read_only"], true, "{name}");
            assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
            assert_eq!(service["cap_add"], Value::Null, "{name}");
            assert_ne!(service["privileged"], true, "{name}");
            let options = service["security_opt"].as_array().unwrap();
            // The seccomp profile and the other defaults of the engine stay.
            assert_eq!(options, &["no-new-privileges:true"], "{name}");
            for shared in ["pid", "ipc", "userns_mode"] {
                assert_eq!(service[shared], Value::Null, "{name}: {shared}");
            }
            assert!(!service["mem_limit"].is_null(), "{name}");
            assert!(!service["restart"].is_null(), "{name}");
            assert!(!service["stop_grace_period"].is_null(), "{name}");
            assert!(!service["volumes"].as_array().unwrap().is_empty(), "{name}");
            let has_state = ["aggregator", "balancer", "postgres"].contains(&name.as_str());
            if has_state || brokers.contains(&name.as_str()) {
                assert!(!service["healthcheck"]["test"].is_null(), "{name}");
            }
            let network = if name.ends_with("-password") {
                Value::from("none")
            } else {
                Value::Null
            };
            assert_eq!(service["network_mode"], network, "{name}");
        }
        let of_aggregator = brokers.iter().map(|broker| ("aggregator", *broker));
        for (service, needed) in of_aggregator.chain([("publisher", entrance(brokers))]) {
            let condition = &services[service]["depends_on"][needed]["condition"];
            // Of three servers two are enough.
            let is_one_of_three = service == "aggregator" && brokers.len() > 1;
            let expected = if is_one_of_three {
                "service_started"
            } else {
                "service_healthy"
            };
            assert_eq!(condition, expected, "{service} {needed}");
        }
    }
}

#[test]
fn a_password_is_only_where_it_is_needed() {
    for (file, brokers) in parsed() {
        let services = file["services"].as_object().unwrap();
        let have = |volume: &str| -> Vec<&str> {
            let has = |service: &&Value| {
                let mut volumes = service["volumes"].as_array().unwrap().iter();
                volumes.any(|mounted| mounted["source"] == volume)
            };
            let have = services.iter().filter(|(_, service)| has(service));
            have.map(|(name, _)| name.as_str()).collect()
        };
        for user in ["aggregator", "publisher"] {
            let maker = format!("{user}-password");
            assert_eq!(have(&format!("{user}-secrets")), [user, &maker]);
        }
        assert_eq!(have("reader-secrets"), ["reader-password"]);
        for broker in brokers {
            assert!(have("broker-secrets").contains(broker));
        }
        assert!(!have("broker-secrets").contains(&"aggregator"));
        assert!(!have("broker-secrets").contains(&"publisher"));
        if brokers.len() > 1 {
            let maker = "database-password";
            assert_eq!(have("database-secrets"), [maker, "postgres"]);
            assert_eq!(have("database-client-secrets"), ["aggregator", maker]);
        }
    }
}

#[test]
fn every_installed_version_of_compose_accepts_the_file_with_tls() {
    for command in found() {
        let project = Project::new(&command);
        let files = ["compose/compose.yaml", "compose/compose.tls.yaml"];
        let shown = project.run(&["-f", files[0], "-f", files[1], "config"]);
        for part in ["tls://aggregator@nats:4222", "tls://publisher@nats:4222"] {
            assert!(shown.contains(part), "{shown}");
        }
    }
}

#[test]
fn data_that_grows_with_the_input_is_kept_on_volumes_not_in_memory() {
    for (file, brokers) in parsed() {
        let services = &file["services"];
        let is_volume = |service: &str, directory: &Value| {
            let volumes = services[service]["volumes"].as_array().unwrap();
            let mut volumes = volumes.iter().filter(|volume| volume["type"] == "volume");
            volumes.any(|volume| volume["target"] == *directory)
        };
        for broker in brokers {
            assert!(is_volume(broker, &Value::from("/var/tmp")), "{broker}");
        }
        // `publisher send -` spools standard input in TMPDIR.
        let spool = &services["publisher"]["environment"]["TMPDIR"];
        assert!(is_volume("publisher", spool), "{}", services["publisher"]);
        if brokers.len() > 1 {
            assert!(is_volume("postgres", &Value::from("/var/tmp")));
            continue;
        }
        // `aggregator verify` keeps its temporary files in the data directory unless TMPDIR says otherwise.
        let environment = &services["aggregator"]["environment"];
        assert_eq!(environment["TMPDIR"], Value::Null);
        assert!(is_volume("aggregator", &environment["AGGREGATOR_DATA_DIR"]));
    }
}

#[tokio::test]
async fn every_event_survives_down_and_up_and_is_still_deduplicated() {
    let Some(command) = found().into_iter().next() else {
        return;
    };
    let project = Project::of_what_was_built(&command);
    let api = Api::new(&project.url());
    project.run(&["up", "--detach", "--no-build"]);
    within(DEADLINE, "the publisher has verified its run", async || {
        let logs = project.run(&["logs", "publisher"]);
        let verified = "verified: received 20,000, unique 14,000, duplicates 6,000";
        holds(logs.contains(verified), logs)
    })
    .await;
    let files = USERS.map(|user| format!("/etc/event-aggregator/secrets/{user}.conf"));
    let read = ["exec", "-T", "nats", "cat"].map(str::to_owned);
    let read: Vec<_> = read.iter().chain(&files).map(String::as_str).collect();
    let secret = project.run(&read);
    let passwords: Vec<_> = secret.split('"').skip(1).step_by(2).collect();
    assert_eq!(passwords.len(), 3, "{} characters", secret.len());
    let shown = project.inspected();
    for password in passwords {
        assert_eq!(password.len(), 48);
        assert!(!shown.contains(password), "docker inspect shows a password");
    }

    let kept = events("kept by compose", 0..50);
    api.publish(&kept).await;
    project.run(&["stop", "publisher"]);
    let before = api.settled().await;
    assert!(
        before.stats.unique_processed >= 14_050,
        "{:?}",
        before.stats
    );

    project.run(&["down"]);
    assert!(api.get("/stats").await.is_err(), "it is gone");
    // Without the publisher, which would start another run.
    project.run(&["up", "--detach", "--no-build", "aggregator"]);
    eventually("the aggregator is healthy again", async || {
        let health = api.get("/health").await?;
        holds(health.status == 200, health.text())
    })
    .await;
    let after = api.settled().await;
    assert_eq!(
        (after.counts(), after.topics),
        (before.counts(), before.topics)
    );

    api.publish(&kept).await;
    api.publish(&[event("kept by compose", "new")]).await;
    let books = api.settled().await;
    assert_eq!(books.of("kept by compose"), [101, 51, 50]);
    assert_eq!(books.stats.conflicts, 0);
}
