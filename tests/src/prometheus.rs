//! A real Prometheus that scrapes an aggregator, to test queries of its metrics.
//!
//! `tests/run.sh` installs Debian's package where it can, and sets `E2E_PROMETHEUS` to the program. Without it, a test that
//! needs Prometheus prints that it is skipped; with `E2E_REQUIRE=all` it fails.

use std::{fs, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    api::Api,
    browser::needed,
    port,
    service::Service,
    wait::{eventually, holds},
};

/// A running Prometheus, killed on drop.
#[derive(Debug)]
pub struct Prometheus {
    _service: Service,
    api: Api,
    /// Its configuration and data.
    _directory: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes an aggregator several times a second; `None` if this machine has no Prometheus.
    ///
    /// Panics if there is none although `E2E_REQUIRE=all` requires it.
    pub async fn of(aggregator: &Api) -> Option<Self> {
        Self::with(aggregator, "").await
    }

    /// The same with these lines in the configuration of the job.
    pub async fn with(aggregator: &Api, job: &str) -> Option<Self> {
        let program = needed("E2E_PROMETHEUS", "prometheus")?;
        let directory = tempfile::tempdir().expect("a temporary directory can be created");
        let configuration = format!(
            "global: {{scrape_interval: 300ms, scrape_timeout: 300ms}}\n\
             scrape_configs:\n  - job_name: aggregator\n{job}    static_configs: [{{targets: [\"{}\"]}}]\n",
            aggregator.address()
        );
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, configuration).expect("a file can be written");
        let port = port::free();
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let mut service = Service::start("Prometheus", &mut command);
        let api = Api::new(&format!("http://127.0.0.1:{port}"));
        eventually("Prometheus is ready", async || {
            let log = service.log();
            assert!(service.is_running(), "it ended: {}", log.join("\n"));
            let ready = api.get("/-/ready").await?;
            holds(ready.status == 200, ready.text())
        })
        .await;
        Some(Self {
            _service: service,
            api,
            _directory: directory,
        })
    }

    /// The results of a query: each has a `metric` and a `value`.
    ///
    /// Panics if Prometheus cannot parse the query.
    pub async fn query(&self, query: &str) -> Vec<Value> {
        let answer = self.api.ask("/api/v1/query", &[("query", query)]).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let results = answer.json()["data"]["result"].as_array().cloned();
        results.expect("a query has results")
    }

    /// The values of a label of a metric's series.
    pub async fn label_values(&self, metric: &str, label: &str) -> Value {
        let path = format!("/api/v1/label/{label}/values");
        let answer = self.api.ask(&path, &[("match[]", metric)]).await;
        answer.json()["data"].clone()
    }
}
