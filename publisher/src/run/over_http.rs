//! The runs over HTTP: generated events through `POST /publish`, and the time until an event can be seen.

use std::process::ExitCode;

use tokio::time::Instant;

use super::{Comparison, Run, SAY_EVERY, exit_code, latency::Probe, told, verifier};
use crate::{
    config::{Http, Latency},
    flow::http::HttpFlow,
    progress::{Progress, say},
    summary::Summary,
    traffic::{Generator, Recipe, Share, Traffic, fresh_run_id},
};

/// The traffic beside which latency is measured.
const BACKGROUND_CONNECTIONS: usize = 64;
const BACKGROUND_TOPICS: u32 = 10;
const BACKGROUND_DUPLICATES: &str = "0.3";

const PAYLOAD_BYTES: usize = 128;

impl Run {
    pub(super) async fn http(&self, settings: &Http) -> anyhow::Result<ExitCode> {
        let (recipe, count) = (settings.made.recipe(), settings.made.count());
        let traffic = Traffic::new(&recipe);
        say(format_args!("run {}: {recipe}", recipe.run_id));
        let comparison = match verifier(settings.verify.then_some(&settings.url))? {
            Some(verifier) => Some(Comparison::fresh(verifier, &recipe).await),
            None => None,
        };
        let flow = HttpFlow {
            url: &settings.url,
            topics: traffic.topics().len(),
            connections: settings.connections as usize,
            events_per_request: settings.events_per_request as usize,
            rate: settings.rate,
            stop: &self.stop,
        };
        let progress = Progress::new(count, SAY_EVERY, Instant::now());
        let (mut sent, ended) = flow.run(Generator::new(&traffic, count), progress).await;
        // Without an end, to be stopped is the end.
        sent.complete |= count.is_none() && ended.is_ok();
        let mut summary = Summary::of_requests(&sent, settings.connections);
        summary.error = told(ended);
        (summary.run_id, summary.seed) = (Some(recipe.run_id), Some(recipe.seed));
        if let Some(comparison) = comparison {
            let stop = self.stop_of_verification(count);
            comparison
                .make(traffic.topics(), &sent, &mut summary, &stop)
                .await;
        }
        self.report(&summary)?;
        Ok(exit_code(&summary))
    }

    pub(super) async fn latency(&self, settings: &Latency) -> anyhow::Result<ExitCode> {
        let run_id = fresh_run_id();
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
            "run {run_id}: {} events beside {} events/s",
            settings.samples, settings.rate
        ));
        // The one that ends first ends the other.
        let stop = self.stop.child_token();
        let flow = HttpFlow {
            url: &settings.url,
            topics: background.topics().len(),
            connections: BACKGROUND_CONNECTIONS,
            events_per_request: 1,
            rate: settings.rate,
            stop: &stop,
        };
        let flowing = async {
            let _ends_the_other = stop.clone().drop_guard();
            let progress = Progress::new(None, SAY_EVERY * 10, Instant::now());
            flow.run(Generator::new(&background, None), progress).await
        };
        let mut probe = Probe::new(&settings.url);
        let probing = async {
            let _ends_the_other = stop.clone().drop_guard();
            let events = Generator::new(&samples, Some(u64::from(settings.samples)));
            probe.run(events, &stop).await
        };
        let ((sent, flowed), probed) = tokio::join!(flowing, probing);
        // Where both failed, the probe says more: the other was stopped for it.
        probed?;
        flowed?;
        let measured = probe.measured(Summary::of_requests(&sent, 0).events_per_second);
        self.report(&measured)?;
        let is_whole = measured.samples == u64::from(settings.samples);
        Ok(if is_whole {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
