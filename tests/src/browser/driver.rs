//! The driver's process, which starts and ends Chromium's processes.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::{Pid, kill_process, kill_process_group};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::{
    port,
    service::{Service, Signal},
    wait::{eventually, holds},
};

/// A running driver. On drop it is killed together with every Chromium that it started.
#[derive(Debug)]
pub(super) struct Driver {
    service: Service,
    url: String,
    /// All files that the driver and Chromium write; its path identifies Chromium's processes.
    directory: TempDir,
}

impl Driver {
    /// Starts one on a free port and waits until it accepts sessions.
    pub(super) async fn start(program: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be created");
        let port = port::free();
        let mut command = Command::new(program);
        command
            .arg(format!("--port={port}"))
            .env("TMPDIR", directory.path())
            .env("HOME", directory.path())
            .env_remove("DISPLAY")
            // A process group of its own, so that its children can be ended with it.
            .process_group(0);
        let mut driver = Self {
            service: Service::start("chromedriver", &mut command),
            url: format!("http://127.0.0.1:{port}"),
            directory,
        };
        let client = reqwest::Client::builder().no_proxy().build();
        let client = client.expect("an HTTP client can be created");
        let status = format!("{}/status", driver.url);
        eventually("the driver accepts sessions", async || {
            let running = driver.service.is_running();
            assert!(running, "it ended: {:?}", driver.service.log());
            let answer = client.get(&status).send().await;
            let answer = answer.map_err(|err| err.to_string())?;
            let answer: Value = answer.json().await.map_err(|err| err.to_string())?;
            holds(answer["value"]["ready"] == true, answer)
        })
        .await;
        driver
    }

    /// Its URL.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The options that Chromium is started with.
    pub(super) fn capabilities(&self) -> Map<String, Value> {
        let mut arguments = vec![
            "--headless=new".to_owned(),
            format!("--user-data-dir={}", self.profile().display()),
            // The shared memory of a container is too small for Chromium.
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            // As on phones, where scroll bars overlay the page, so that its width is the window's.
            "--hide-scrollbars".to_owned(),
            "--no-first-run".to_owned(),
            "--no-proxy-server".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--force-prefers-reduced-motion".to_owned(),
            // No other host resolves; the requests themselves are still logged.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1".to_owned(),
        ];
        if rustix::process::geteuid().is_root() {
            // Chromium's sandbox does not work for root.
            arguments.push("--no-sandbox".to_owned());
        }
        let capabilities = json!({
            "browserName": "chrome",
            // Those of the tests are of authorities that it does not know.
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "timeouts": {"script": 60_000},
        });
        let Value::Object(capabilities) = capabilities else {
            unreachable!("it was written as an object just now");
        };
        capabilities
    }

    fn profile(&self) -> PathBuf {
        self.directory.path().join("profile")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = i32::try_from(self.service.id())
            .ok()
            .and_then(Pid::from_raw);
        if let Some(group) = group.filter(|_| self.service.is_running()) {
            // Its members may have ended already.
            let _ = kill_process_group(group, Signal::KILL);
        }
        self.service.kill();
        // Chromium's processes may have left the group. Those that were started with this directory belong to this
        // driver.
        for process in started_with(&self.profile()) {
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

/// The processes with this directory on their command line, on systems with `/proc`.
fn started_with(directory: &Path) -> Vec<Pid> {
    let directory = directory.to_string_lossy().into_owned();
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let id = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let is_ours = String::from_utf8_lossy(&line).contains(&directory);
            Pid::from_raw(id).filter(|_| is_ours)
        })
        .collect()
}
