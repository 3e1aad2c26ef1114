//! The broker as a container.

use std::collections::HashMap;

use super::{
    configuration,
    users::{self, Users},
};
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt,
    bollard::{
        Docker,
        models::PortBinding,
        query_parameters::{KillContainerOptionsBuilder, StopContainerOptionsBuilder},
    },
    core::Mount,
    runners::AsyncRunner,
};

/// In the container. `/var/tmp` exists in every image and is writable by all; the data stays in the container's own
/// layer.
const CONFIGURATION: &str = "/etc/event-aggregator/server.conf";
/// The directory of a configuration with users, which can be changed while the broker runs.
const USERS: &str = "/etc/event-aggregator/users";
const WITH_USERS: &str = "/etc/event-aggregator/users/nats.conf";
const STORE: &str = "/var/tmp";
const PORT: &str = "4222/tcp";

/// How long the broker has for a graceful shutdown.
const GRACE_SECONDS: i32 = 20;

#[derive(Debug)]
pub(super) struct Server {
    container: ContainerAsync<GenericImage>,
    docker: Docker,
}

/// Whether Docker responds and has the image.
pub(super) async fn is_there(image: &str) -> Result<(), String> {
    let docker = docker()?;
    docker.ping().await.map_err(|err| err.to_string())?;
    let found = docker.inspect_image(image).await;
    found.map(drop).map_err(|err| err.to_string())
}

impl Server {
    pub async fn start(image: &str, port: u16, flags: &[&str], users: Option<&Users>) -> Self {
        let file = if users.is_some() {
            WITH_USERS
        } else {
            CONFIGURATION
        };
        let mut own = vec!["--config", file];
        if users.is_none() {
            own.extend(["--store_dir", STORE]);
        }
        // A fixed port, because one chosen by Docker would change at each start.
        let binding = PortBinding {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: Some(port.to_string()),
        };
        let ports = HashMap::from([(PORT.to_owned(), Some(vec![binding]))]);
        let mut request = generic(image)
            .with_cmd(own.iter().chain(flags).copied())
            .with_copy_to(CONFIGURATION, configuration());
        if let Some(users) = users {
            let path = users.path().to_str().expect("its path is text");
            request = request
                .with_mount(Mount::bind_mount(path, USERS))
                .with_env_var(users::STORE, STORE);
        }
        let container = request
            .with_host_config_modifier(move |host| {
                host.port_bindings = Some(ports.clone());
                host.publish_all_ports = Some(false);
            })
            .start()
            .await
            .unwrap_or_else(|err| panic!("no container of {image} can be started: {err}"));
        Self {
            container,
            docker: docker().expect("Docker responded before"),
        }
    }

    pub async fn start_again(&self) {
        let started = self.container.start().await;
        started.expect("a stopped container can be started");
    }

    pub async fn stop(&self) {
        let options = StopContainerOptionsBuilder::new().t(GRACE_SECONDS).build();
        let stopped = self
            .docker
            .stop_container(self.container.id(), Some(options))
            .await;
        stopped.expect("a running container can be stopped");
    }

    /// Has it read its configuration again.
    pub async fn reload(&self) {
        self.send("SIGHUP").await;
    }

    async fn send(&self, signal: &str) {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let sent = self
            .docker
            .kill_container(self.container.id(), Some(options))
            .await;
        sent.expect("a running container can be signalled");
    }

    pub async fn kill(&self) {
        self.send("SIGKILL").await;
        super::eventually("the container ends", async || {
            match self.container.is_running().await {
                Ok(false) => Ok(()),
                other => Err(format!("running: {other:?}")),
            }
        })
        .await;
    }
}

fn docker() -> Result<Docker, String> {
    Docker::connect_with_defaults().map_err(|err| err.to_string())
}

fn generic(image: &str) -> GenericImage {
    let (name, tag) = match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    };
    GenericImage::new(name, tag)
}
