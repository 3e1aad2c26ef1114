//! The runs, from their settings to their exit codes: `generate` and `send` here, `http` and `latency` in `over_http`.

mod comparison;
mod latency;
mod over_http;

use std::{fmt::Display, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use indicatif::HumanCount;
use serde::Serialize;
use shared::{
    api::Target,
    command_line::{self, print, say},
    event::Topic,
    trace::Tracer,
};
use tokio::{task::spawn_blocking, time::Instant};
use tokio_util::sync::CancellationToken;

use self::comparison::Comparison;
use crate::{
    broker::Broker,
    config::{Generate, JetStream, Send, Settings, Task},
    flow::{Flow, pace::Rate},
    input::{Feed, inspect},
    progress::Progress,
    send_stats::SendStats,
    summary::Summary,
    traffic::{Generator, Recipe, Traffic},
    verify::{Rule, TopicSelection, Verifier},
};

/// Interval of plain progress lines; longer for the slow traffic that follows a run.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
const TRICKLE_PROGRESS_INTERVAL: Duration = Duration::from_mins(1);

/// Runs the task until its end or until stopped.
///
/// # Errors
/// Why the task ended early, as one sentence.
pub async fn run(
    settings: Settings,
    tracer: Tracer,
    stop: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let run = Run {
        json: settings.json,
        tracer,
        stop,
    };
    match settings.task {
        Task::Generate(settings, jetstream) => run.generate(&settings, &jetstream).await,
        Task::Send(settings, jetstream) => run.send(&settings, &jetstream).await,
        Task::Http(settings) => run.http(&settings).await,
        Task::Latency(settings) => run.latency(&settings).await,
        Task::Read(_) => unreachable!("reading needs no run"),
    }
}

/// What all runs share.
struct Run {
    json: bool,
    /// Traces the messages sent over JetStream.
    tracer: Tracer,
    stop: CancellationToken,
}

impl Run {
    async fn generate(
        &self,
        settings: &Generate,
        jetstream: &JetStream,
    ) -> anyhow::Result<ExitCode> {
        let (recipe, count) = (settings.generated.recipe(), settings.generated.count());
        let traffic = Traffic::new(&recipe);
        say(format_args!("run {}: {recipe}", recipe.run_id));
        let verifier = verifier(jetstream.verify.as_ref())?;
        let Some(broker) = self.connect(jetstream).await? else {
            return Ok(nothing_sent(count.is_none()));
        };
        let comparison = match verifier {
            Some(verifier) => Some(Comparison::fresh(verifier, &recipe).await),
            None => None,
        };
        let progress = Progress::new(count, PROGRESS_INTERVAL, Instant::now());
        let generator = Generator::new(&traffic, count);
        let flow = self.flow(&broker, traffic.topics(), jetstream, jetstream.rate);
        let (mut sent, ended) = flow.run(generator, progress).await;
        // A run without an end is complete when it is stopped.
        sent.complete |= count.is_none() && ended.is_ok();
        let mut summary = Summary::new(&sent);
        summary.error = error_text(ended);
        let run = (&recipe, traffic.topics(), count);
        self.conclude(run, comparison, &sent, &mut summary).await?;
        if summary.is_success() && !settings.then_rate.is_unlimited() {
            self.trickle(&broker, recipe, jetstream, settings.then_rate)
                .await?;
        }
        Ok(close(broker, &summary).await)
    }

    /// Completes the summary of a run of generated events: their recipe, their topics and their number. Verifies the run if
    /// requested, and prints the summary.
    async fn conclude(
        &self,
        (recipe, topics, count): (&Recipe, &[Topic], Option<u64>),
        comparison: Option<Comparison>,
        sent: &SendStats,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        (summary.run_id, summary.seed) = (Some(recipe.run_id.clone()), Some(recipe.seed));
        if let Some(comparison) = comparison {
            let stop = self.verification_stop(count);
            comparison.run(topics, sent, summary, &stop).await;
        }
        self.report(summary)
    }

    /// Continues at a slow rate on separate topics until stopped.
    async fn trickle(
        &self,
        broker: &Broker,
        run: Recipe,
        jetstream: &JetStream,
        rate: Rate,
    ) -> anyhow::Result<()> {
        let recipe = Recipe {
            run_id: format!("{}-trickle", run.run_id),
            ..run
        };
        say(format_args!(
            "continuing as run {} at {rate} events/s until stopped",
            recipe.run_id
        ));
        let traffic = Traffic::new(&recipe);
        let progress = Progress::new(None, TRICKLE_PROGRESS_INTERVAL, Instant::now());
        let flow = self.flow(broker, traffic.topics(), jetstream, rate);
        let (mut sent, ended) = flow.run(Generator::new(&traffic, None), progress).await;
        sent.complete = ended.is_ok();
        say(Summary::new(&sent));
        Ok(ended?)
    }

    async fn send(&self, settings: &Send, jetstream: &JetStream) -> anyhow::Result<ExitCode> {
        let origins = settings.origins();
        let inspecting = spawn_blocking(move || inspect(&origins));
        let Some(inspected) = unless_stopped(&self.stop, inspecting).await else {
            return Ok(nothing_sent(false));
        };
        let (inputs, inspection) = inspected??;
        for reason in &inspection.reasons {
            say(reason);
        }
        if inspection.invalid > 0 && !settings.skip_invalid {
            let all = inspection.invalid + inspection.events;
            bail!(
                "{} of {all} events are not valid, so nothing was sent; --skip-invalid sends the others",
                inspection.invalid
            );
        }
        let topics = inspection.topics.clone();
        say(format_args!(
            "sending {} events of {} topics",
            HumanCount(inspection.events),
            HumanCount(topics.len() as u64)
        ));
        let mut names: Vec<_> = topics.iter().map(Topic::to_string).collect();
        names.sort_unstable();
        let selection = TopicSelection::Names(names);
        let verifier = verifier(jetstream.verify.as_ref())?;
        let Some(broker) = self.connect(jetstream).await? else {
            return Ok(nothing_sent(false));
        };
        let comparison = match verifier {
            None => None,
            Some(verifier) => {
                let baseline = unless_stopped(&self.stop, verifier.baseline(&selection)).await;
                let Some(baseline) = baseline else {
                    return Ok(nothing_sent(false));
                };
                Some(Comparison {
                    baseline: baseline.context("nothing was sent")?,
                    verifier,
                    rule: Rule::Known {
                        unique: settings.expect_unique,
                    },
                    selection,
                })
            }
        };
        let (events, invalid) = (inspection.events, inspection.invalid);
        let progress = Progress::new(Some(events), PROGRESS_INTERVAL, Instant::now());
        let feed = Feed::start(inputs, Arc::new(inspection));
        let flow = self.flow(&broker, &topics, jetstream, jetstream.rate);
        let (sent, ended) = flow.run(feed, progress).await;
        let mut summary = Summary::new(&sent);
        summary.error = error_text(ended);
        summary.skipped_invalid = Some(invalid);
        if let Some(comparison) = comparison {
            comparison
                .run(&topics, &sent, &mut summary, &self.stop)
                .await;
        }
        self.report(&summary)?;
        Ok(close(broker, &summary).await)
    }

    /// Connects to the broker; `None` if stopped before.
    async fn connect(&self, jetstream: &JetStream) -> anyhow::Result<Option<Broker>> {
        let connecting = Broker::connect(
            &jetstream.servers,
            &jetstream.stream,
            (jetstream.batch, jetstream.subjects),
            self.tracer.clone(),
        );
        unless_stopped(&self.stop, connecting).await.transpose()
    }

    fn flow<'a>(
        &'a self,
        broker: &'a Broker,
        topics: &'a [Topic],
        jetstream: &'a JetStream,
        rate: Rate,
    ) -> Flow<'a> {
        Flow {
            publisher: &broker.publisher,
            connection: &broker.connection,
            stream: &jetstream.stream,
            topics,
            batch: jetstream.batch,
            subjects: jetstream.subjects,
            rate,
            stop: &self.stop,
        }
    }

    /// What stops the verification. A run without an end is verified after it is stopped; a second signal stops the
    /// verification.
    fn verification_stop(&self, count: Option<u64>) -> CancellationToken {
        match count {
            None => CancellationToken::new(),
            Some(_) => self.stop.clone(),
        }
    }

    fn report(&self, summary: &(impl Display + Serialize)) -> anyhow::Result<()> {
        say(summary);
        if self.json {
            let json = serde_json::to_string(summary)?;
            print(format_args!("{json}\n"))
                .context("cannot write the summary to standard output")?;
        }
        Ok(())
    }
}

fn verifier(target: Option<&Target>) -> anyhow::Result<Option<Verifier>> {
    Ok(target.map(Verifier::new).transpose()?)
}

/// The future's output; `None` if stopped before.
async fn unless_stopped<T>(
    stop: &CancellationToken,
    running: impl Future<Output = T>,
) -> Option<T> {
    stop.run_until_cancelled(running).await
}

fn nothing_sent(is_success: bool) -> ExitCode {
    say("stopped before anything was sent");
    if is_success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Why the flow failed, in one line with its causes.
fn error_text<E: std::error::Error + std::marker::Send + Sync + 'static>(
    ended: Result<(), E>,
) -> Option<String> {
    let failed = ended.map_err(anyhow::Error::from).err()?;
    Some(command_line::failure(&*failed))
}

/// Shuts down the publishing client and returns the exit code of the run.
async fn close(broker: Broker, summary: &Summary) -> ExitCode {
    // After a failure there may be messages in flight that are not waited for.
    if summary.error.is_none() {
        broker.close().await;
    }
    exit_code(summary)
}

fn exit_code(summary: &Summary) -> ExitCode {
    if summary.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
