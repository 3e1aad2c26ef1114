//! The running service, over HTTP.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use indicatif::HumanDuration;
use reqwest::{
    Client, StatusCode,
    header::{AUTHORIZATION, HeaderValue},
};
use serde::Serialize;
use serde_json::Value;
use shared::api::{Target, describe};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{finding::Finding, number};
use crate::{consumer::survey::Reading, http::Diagnostics};

/// How long a response may take. A store that is busy answers within a second.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Share of the memory limit in use, in percent, from which on it needs attention.
const MEMORY_PERCENT: u64 = 90;

/// A disk that is full sooner than this needs attention, as on the live page: a weekend, with a day to act.
const SOON: Duration = Duration::from_hours(3 * 24);

/// What the service says about itself.
#[derive(Debug, Serialize)]
pub(super) struct Service {
    pub url: String,
    /// The response of `/health`.
    pub health: Value,
    /// The response of `/stats`; `None` while the store is opening, or if it cannot be read.
    pub stats: Option<Value>,
    /// The response of `/diagnostics`; `None` while the store is opening, or in earlier versions.
    pub diagnostics: Option<Diagnostics>,
    /// Why the service does not say more, if it asks for a token.
    #[serde(skip)]
    pub refused: Option<&'static str>,
}

/// Why the service does not say everything.
const NO_TOKEN: &str =
    "the service asks for a token, and there is none, so little of it was examined";
const WRONG_TOKEN: &str = "the service refuses the token, so little of it was examined";
const LACKS_ADMIN: &str = "the token lacks the scope admin, so not all of the service was examined";

impl Service {
    /// Asks the aggregator at an address, and reads its clock.
    ///
    /// # Errors
    /// Why there is no aggregator.
    pub async fn ask(url: &str, target: &Target) -> Result<(Self, Option<Reading>), String> {
        let client = target.client().timeout(TIMEOUT).build();
        let client = client.map_err(|err| describe(&err))?;
        let mut asked = Instant::now();
        let mut token = target.authorization();
        let (mut code, mut health) = get(&client, url, token, "/health").await?;
        let mut refused = None;
        if code == StatusCode::UNAUTHORIZED && token.is_some() {
            (token, refused) = (None, Some(WRONG_TOKEN));
            asked = Instant::now();
            (code, health) = get(&client, url, token, "/health").await?;
        }
        let is_health = code == StatusCode::OK || code == StatusCode::SERVICE_UNAVAILABLE;
        let health = health.filter(|health| is_health && health["status"].is_string());
        let Some(health) = health else {
            return Err("another program answers there".to_owned());
        };
        let time = health["timestamp"].as_str();
        let time = time.and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
        let time = time.and_then(|time| i64::try_from(time.unix_timestamp_nanos() / 1_000).ok());
        let reading = time.map(|theirs| Reading::now(theirs, asked));
        // Topic names may be confidential.
        let stats = get(&client, url, token, "/stats?topics=false").await;
        let stats = stats.ok().and_then(|(_, stats)| stats);
        let diagnostics = get(&client, url, token, "/diagnostics").await.ok();
        refused = refused.or(match diagnostics {
            Some((StatusCode::UNAUTHORIZED, _)) => Some(NO_TOKEN),
            Some((StatusCode::FORBIDDEN, _)) => Some(LACKS_ADMIN),
            _ => None,
        });
        let diagnostics = diagnostics.and_then(|(_, found)| found);
        let diagnostics = diagnostics.and_then(|found| serde_json::from_value(found).ok());
        let service = Self {
            url: url.to_owned(),
            health,
            stats: stats.filter(|stats| stats["received"].is_u64()),
            diagnostics,
            refused,
        };
        Ok((service, reading))
    }

    /// A healthy service that uses this store.
    #[cfg(test)]
    pub fn with_store(url: &str, store_id: Option<&str>) -> Self {
        let diagnostics = store_id.map(|store_id| Diagnostics {
            version: String::new(),
            schema_version: 0,
            store_id: store_id.to_owned(),
            process_id: 7,
            settings: BTreeMap::new(),
            nats_server: None,
            machine: crate::machine::Machine::this(),
            log: Vec::new(),
        });
        Self {
            url: url.to_owned(),
            health: Value::Null,
            stats: None,
            diagnostics,
            refused: None,
        }
    }

    /// A setting by its flag.
    pub fn setting(&self, flag: &str) -> Option<&str> {
        let settings = &self.diagnostics.as_ref()?.settings;
        settings.get(flag).map(String::as_str)
    }

    /// The database with its store, if it is not in a directory.
    pub fn database(&self) -> Option<String> {
        let store = self.setting("--store").filter(|store| !store.is_empty());
        store.map(str::to_owned)
    }

    /// The id of its store; `None` while the store is opening.
    pub fn store_id(&self) -> Option<&str> {
        self.diagnostics.as_ref().map(|found| &*found.store_id)
    }

    /// Whether it is connected to a broker.
    pub fn has_broker(&self) -> bool {
        let says_all = matches!(self.refused, None | Some(LACKS_ADMIN));
        says_all && self.health["status"] != "starting" && self.health["checks"]["broker"].is_null()
    }

    /// What needs attention.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |problem: String, remedy: &str| {
            findings.push(Finding::new("aggregator", problem, remedy));
        };
        if let Some(refused) = self.refused {
            add(
                refused.to_owned(),
                "give a token with admin, which aggregator token create makes, in AGGREGATOR_TOKEN or with --token-file",
            );
        }
        of_health(&self.health, &mut add);
        if let Some(stats) = &self.stats {
            of_stats(stats, &mut add);
        }
        if let Some(diagnostics) = &self.diagnostics {
            of_process(diagnostics, &mut add);
        }
        findings
    }
}

/// Adds what `/health` reports.
fn of_health(health: &Value, add: &mut impl FnMut(String, &str)) {
    let starting = health["status"] == "starting";
    for (part, reason) in texts(&health["checks"]) {
        if starting {
            add(
                format!("the store is being opened: {reason}"),
                "wait until it is open; until then every request is answered with 503",
            );
        } else {
            add(format!("{part}: {reason}"), remedy(&part));
        }
    }
    for (notice, text) in texts(&health["notices"]) {
        add(format!("{notice}: {text}"), remedy(&notice));
    }
    if let Some(text) = health["clock"].as_str() {
        add(
            text.to_owned(),
            "correct the clock of the aggregator's machine, or wait",
        );
    }
    if let Some(missing @ 1..) = number(health, "missing") {
        add(
            format!("the stream lost {missing} messages before they were applied"),
            "see GET /missing, send those events again, then run aggregator acknowledge-missing",
        );
    }
}

/// Adds the counters that should be 0.
fn of_stats(stats: &Value, add: &mut impl FnMut(String, &str)) {
    if stats["consistent"] == false {
        add(
            "the counters do not add up".to_owned(),
            "run aggregator verify, and attach its output to an issue",
        );
    }
    if let Some(stalls @ 1..) = number(stats, "stalls") {
        add(
            format!("stalls since the start, when nothing was applied for too long: {stalls}"),
            "check the disk of the store, and the last log lines",
        );
    }
    if let Some(left) = number(&stats["disk"], "seconds_left")
        && left < SOON.as_secs()
    {
        add(
            format!(
                "the disk of the store is full in {} at the rate of the last 24 hours",
                HumanDuration(Duration::from_secs(left))
            ),
            "free or add space: when the disk is full, nothing is applied",
        );
    }
    for (kind, one, advice) in [
        (
            "rejected",
            "rejected arrival",
            "see GET /rejected for the reasons and the bodies",
        ),
        (
            "conflicts",
            "conflict",
            "see GET /conflicts: producers use one event_id for different content",
        ),
    ] {
        let all = number(stats, kind).unwrap_or(0);
        let seen = number(stats, &format!("{kind}_seen")).unwrap_or(0);
        let requeued = number(stats, &format!("{kind}_requeued")).unwrap_or(0);
        match all.saturating_sub(seen).saturating_sub(requeued) {
            0 => {}
            1 => add(format!("1 {one} to review"), advice),
            new => add(format!("{new} {one}s to review"), advice),
        }
    }
}

/// Adds what is wrong with the process.
fn of_process(diagnostics: &Diagnostics, add: &mut impl FnMut(String, &str)) {
    let own = env!("CARGO_PKG_VERSION");
    if diagnostics.version != own {
        add(
            format!(
                "the service has version {}, and this program {own}",
                diagnostics.version
            ),
            "restart the service if it was upgraded, or use the program of its version",
        );
    }
    let machine = &diagnostics.machine;
    if let (Some(used), Some(limit)) = (machine.resident_bytes, machine.memory_limit_bytes)
        && used / MEMORY_PERCENT >= limit / 100
    {
        add(
            format!(
                "it uses {} of at most {} of memory",
                ByteSize(used),
                ByteSize(limit)
            ),
            "raise the limit: compose/README.md, Sizing, has the formula",
        );
    }
}

/// What to do about a failing part or a notice, as `/health` names it. The reason that comes with it says more.
fn remedy(part: &str) -> &'static str {
    match part {
        "broker" => {
            "check that nats-server runs and that --nats-url is right; the aggregator keeps trying"
        }
        "stream" => "change the named field of the stream back",
        "publish" => {
            "permit the subject to the user of the aggregator, see compose/nats.conf; the next event that is confirmed ends this"
        }
        "store" => "follow the reason; nothing is acked until the store can be written",
        "progress" => "if it persists, check the disk of the store",
        "trimming" => "follow the reason; the notice disappears by itself",
        "stream_size" => {
            "follow the reason; all aggregators of the stream need the same size and replicas"
        }
        _ => "follow the reason; the aggregator keeps trying",
    }
}

/// The texts of a JSON object by name.
fn texts(object: &Value) -> BTreeMap<String, String> {
    let members = object.as_object().into_iter().flatten();
    let texts = members.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned())));
    texts.collect()
}

/// The status and the JSON of a response; `None` if it is not JSON.
async fn get(
    client: &Client,
    url: &str,
    token: Option<&HeaderValue>,
    path: &str,
) -> Result<(StatusCode, Option<Value>), String> {
    let mut request = client.get(format!("{url}{path}"));
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token);
    }
    let response = request.send().await.map_err(|err| describe(&err))?;
    let status = response.status();
    let body = response.bytes().await.map_err(|err| describe(&err))?;
    Ok((status, serde_json::from_slice(&body).ok()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(health: Value, stats: Option<Value>) -> Vec<String> {
        let service = Service {
            health,
            stats,
            ..Service::with_store("", None)
        };
        let findings = service.findings().into_iter();
        findings.map(|finding| finding.problem).collect()
    }

    #[test]
    fn each_failing_part_notice_and_number_that_should_be_0_is_a_finding() {
        let healthy = json!({"status": "healthy", "timestamp": "2026-01-31T12:00:00Z"});
        let stats = json!({"consistent": true, "stalls": 0, "rejected": 2, "rejected_seen": 2, "conflicts": 0, "disk": {"seconds_left": 259_200}});
        assert!(problems(healthy.clone(), Some(stats)).is_empty());
        let stats = json!({"consistent": false, "stalls": 1, "rejected": 4, "rejected_seen": 1, "rejected_requeued": 2, "conflicts": 3, "disk": {"seconds_left": 172_800}});
        let unhealthy = json!({
            "status": "unhealthy",
            "checks": {"store": "disk full", "progress": "stalled"},
            "notices": {"trimming": "held"},
            "missing": 4,
            "clock": "it is behind",
        });
        assert_eq!(
            problems(unhealthy, Some(stats)),
            [
                "progress: stalled",
                "store: disk full",
                "trimming: held",
                "it is behind",
                "the stream lost 4 messages before they were applied",
                "the counters do not add up",
                "stalls since the start, when nothing was applied for too long: 1",
                "the disk of the store is full in 2 days at the rate of the last 24 hours",
                "1 rejected arrival to review",
                "3 conflicts to review",
            ]
        );
        let starting = json!({"status": "starting", "checks": {"store": "at 10 %"}});
        assert_eq!(
            problems(starting, None),
            ["the store is being opened: at 10 %"]
        );
    }
}
