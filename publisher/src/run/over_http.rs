//! The runs over HTTP: generated events through `POST /publish`, and the time until an event is visible.

use std::process::ExitCode;

use indicatif::HumanCount;
use reqwest::Url;
use shared::{
    api::{Credentials, Target},
    command_line::say,
};
use tokio::time::Instant;

use super::{Comparison, PROGRESS_INTERVAL, Run, error_text, exit_code, latency::Probe, verifier};
use crate::{
    config::{Http, Latency},
    flow::http::HttpFlow,
    progress::Progress,
    summary::Summary,
    traffic::{Generator, Recipe, Share, Traffic, new_run_id},
};

/// The background traffic of a latency measurement.
const BACKGROUND_CONNECTIONS: usize = 64;
const BACKGROUND_TOPICS: u32 = 10;
const BACKGROUND_DUPLICATES: &str = "0.3";

const PAYLOAD_BYTES: usize = 128;

impl Run {
    pub(super) async fn http(&self, settings: &Http) -> anyhow::Result<ExitCode> {
        let (recipe, count) = (settings.generated.recipe(), settings.generated.count());
        let traffic = Traffic::new(&recipe);
        say(format_args!("run {}: {recipe}", recipe.run_id));
        let target = target(&settings.credentials, &settings.url)?;
        let comparison = match verifier(settings.verify.then_some(&target))? {
            Some(verifier) => Some(Comparison::fresh(verifier, &recipe).await),
            None => None,
        };
        let flow = HttpFlow {
            target: &target,
            topics: traffic.topics().len(),
            connections: settings.connections as usize,
            events_per_request: settings.events_per_request as usize,
            rate: settings.rate,
            stop: &self.stop,
        };
        let progress = Progress::new(count, PROGRESS_INTERVAL, Instant::now());
        let (mut sent, ended) = flow.run(Generator::new(&traffic, count), progress).await;
        // A run without an end is complete when it is stopped.
        sent.complete |= count.is_none() && ended.is_ok();
        let mut summary = Summary::of_requests(&sent, settings.connections);
        summary.error = error_text(ended);
        let run = (&recipe, traffic.topics(), count);
        self.conclude(run, comparison, &sent, &mut summary).await?;
        Ok(exit_code(&summary))
    }

    pub(super) async fn latency(&self, settings: &Latency) -> anyhow::Result<ExitCode> {
        let target = target(&settings.credentials, &settings.url)?;
        let run_id = new_run_id();
        let recipe = |run_id: String, topics, share| Recipe {
            seed: 0,
            run_id,
            topics,
            share,
            payload_bytes: PAYLOAD_BYTES,
        };
        let share = Share::parse(BACKGROUND_DUPLICATES).expect("the share is constant");
        let background = Traffic::new(&recipe(run_id.clone(), BACKGROUND_TOPICS, share));
        let samples = Traffic::new(&recipe(format!("{run_id}-samples"), 1, Share::NONE));
        say(format_args!(
            "run {run_id}: {} events with {} events/s in the background",
            HumanCount(u64::from(settings.samples)),
            settings.rate
        ));
        // Whichever ends first stops the other.
        let stop = self.stop.child_token();
        let flow = HttpFlow {
            target: &target,
            topics: background.topics().len(),
            connections: BACKGROUND_CONNECTIONS,
            events_per_request: 1,
            rate: settings.rate,
            stop: &stop,
        };
        let flowing = async {
            let _stops_the_other = stop.clone().drop_guard();
            let progress = Progress::new(None, PROGRESS_INTERVAL * 10, Instant::now());
            flow.run(Generator::new(&background, None), progress).await
        };
        let mut probe = Probe::new(&target);
        let probing = async {
            let _stops_the_other = stop.clone().drop_guard();
            let events = Generator::new(&samples, Some(u64::from(settings.samples)));
            probe.run(events, &stop).await
        };
        let ((sent, flowed), probed) = tokio::join!(flowing, probing);
        // If both failed, the probe's error is the cause: its end stopped the other.
        probed?;
        flowed?;
        let summary = probe.summary(Summary::of_requests(&sent, 0).events_per_second);
        self.report(&summary)?;
        let is_complete = summary.samples == u64::from(settings.samples);
        Ok(if is_complete {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

fn target(credentials: &Credentials, url: &Url) -> anyhow::Result<Target> {
    credentials.target(url).map_err(anyhow::Error::msg)
}
