//! A real nginx in front of an aggregator, to test how its defaults affect requests and responses.
//!
//! `tests/run.sh` installs Debian's package if possible, and sets `E2E_NGINX` to the path of the program. If it is not
//! set, a test that needs nginx prints that it is skipped; with `E2E_REQUIRE=all` it fails.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use crate::{
    api::Api,
    browser::needed,
    port,
    service::Service,
    wait::{eventually, holds},
    workspace,
};

/// A running nginx, killed on drop.
#[derive(Debug)]
pub struct Nginx {
    service: Service,
    api: Api,
    /// Contains its configuration; nginx writes nowhere else.
    _directory: TempDir,
}

impl Nginx {
    /// Starts an nginx that forwards everything to an aggregator with `proxy_pass` and no other setting. Returns `None` if
    /// nginx is not available.
    ///
    /// Panics if nginx is not available and `E2E_REQUIRE=all` requires it.
    pub async fn before(aggregator: &Api) -> Option<Self> {
        let pass = format!("proxy_pass http://{};", aggregator.address());
        Self::with("", &format!("location / {{ {pass} }}")).await
    }

    /// Like [`Self::before`], but with these directives in the `http` block and in its only `server` block.
    pub async fn with(http: &str, server: &str) -> Option<Self> {
        let program = needed("E2E_NGINX", "nginx")?;
        let directory = tempfile::tempdir().expect("a temporary directory can be created");
        let port = port::free();
        // nginx resolves relative paths against the prefix (`-p`).
        let temporary: String = ["client_body", "proxy", "fastcgi", "scgi", "uwsgi"]
            .map(|name| format!("{name}_temp_path {name};\n"))
            .concat();
        let configuration = format!(
            // A single process: killing a master process would leave its workers behind.
            "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}{http}\n\
             server {{\nlisten 127.0.0.1:{port};\n{server}\n}}\n}}\n"
        );
        Some(Self::start(&program, directory, &configuration, port).await)
    }

    /// Starts one with the project's own `compose/balancer.conf`, in front of these aggregators.
    pub async fn balancing(aggregators: &[&Api]) -> Option<Self> {
        let program = needed("E2E_NGINX", "nginx")?;
        let directory = tempfile::tempdir().expect("a temporary directory can be created");
        let port = port::free();
        let file = workspace::root().join("compose/balancer.conf");
        let file = fs::read_to_string(file).expect("a file of the project");
        let servers = aggregators.iter().map(|api| {
            let address = api.address();
            format!("server {address} max_fails=0;")
        });
        let servers: String = servers.collect();
        // As the demo does it without Docker.
        let line = |line: &str| {
            if line.starts_with("  resolver ") {
                format!("upstream aggregators {{ hash $remote_addr consistent; {servers} }}\n")
            } else {
                line.replace("listen 8080", &format!("listen 127.0.0.1:{port}"))
                    .replace("aggregator:8080", "aggregators")
                    + "\n"
            }
        };
        let configuration: String = file.lines().map(line).collect();
        let configuration = format!("daemon off;\nmaster_process off;\n{configuration}");
        Some(Self::start(&program, directory, &configuration, port).await)
    }

    /// Starts one with this configuration, and waits until it listens.
    async fn start(program: &Path, directory: TempDir, configuration: &str, port: u16) -> Self {
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration).expect("a file can be written");
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(directory.path())
            .arg("-c")
            .arg(&file)
            .args(["-e", "stderr"]);
        let mut nginx = Self {
            service: Service::start("nginx", &mut command),
            api: Api::new(&format!("http://127.0.0.1:{port}")),
            _directory: directory,
        };
        eventually("nginx listens", async || {
            let log = nginx.service.log();
            assert!(nginx.service.is_running(), "it ended: {}", log.join("\n"));
            let connected = tokio::net::TcpStream::connect(nginx.api.address()).await;
            holds(connected.is_ok(), log)
        })
        .await;
        nginx
    }

    /// The aggregator's API through this nginx.
    pub fn api(&self) -> &Api {
        &self.api
    }
}
