//! The runs, from their settings to their exit codes: generate and send here, those over HTTP beside.

mod comparison;
mod latency;
mod over_http;

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use reqwest::Url;
use serde::Serialize;
use shared::{event::Topic, trace::Tracer};
use tokio::{task::spawn_blocking, time::Instant};
use tokio_util::sync::CancellationToken;

use self::comparison::Comparison;
use crate::{
    broker::Broker,
    config::{Generate, JetStream, Send, Settings, Task},
    flow::{Flow, pace::Rate},
    input::{Feed, inspect},
    progress::{Progress, say},
    summary::Summary,
    terminal,
    traffic::{Generator, Recipe, Traffic},
    verify::{Rule, Verifier, Wanted},
};

/// How often a plain line says how far it is; of the slow traffic that follows a run, less often.
const SAY_EVERY: Duration = Duration::from_secs(1);
const SAY_TRICKLE_EVERY: Duration = Duration::from_mins(1);

/// Runs what the settings say, until its end or until it is stopped.
///
/// # Errors
/// What ends it early, in one sentence.
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
        Task::Read(reading) => terminal::run(&reading, &run.stop).await,
    }
}

/// What all runs have.
struct Run {
    json: bool,
    /// Of the messages sent over JetStream.
    tracer: Tracer,
    stop: CancellationToken,
}

impl Run {
    async fn generate(
        &self,
        settings: &Generate,
        jetstream: &JetStream,
    ) -> anyhow::Result<ExitCode> {
        let (recipe, count) = (settings.made.recipe(), settings.made.count());
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
        let progress = Progress::new(count, SAY_EVERY, Instant::now());
        let generator = Generator::new(&traffic, count);
        let flow = self.flow(&broker, traffic.topics(), jetstream, jetstream.rate);
        let (mut sent, ended) = flow.run(generator, progress).await;
        // Without an end, to be stopped is the end.
        sent.complete |= count.is_none() && ended.is_ok();
        let mut summary = Summary::new(&sent);
        summary.error = told(ended);
        (summary.run_id, summary.seed) = (Some(recipe.run_id.clone()), Some(recipe.seed));
        if let Some(comparison) = comparison {
            let stop = self.stop_of_verification(count);
            comparison
                .make(traffic.topics(), &sent, &mut summary, &stop)
                .await;
        }
        self.report(&summary)?;
        if summary.is_good() && !settings.then_rate.is_unlimited() {
            self.trickle(&broker, recipe, jetstream, settings.then_rate)
                .await?;
        }
        Ok(close(broker, &summary).await)
    }

    /// Goes on slowly, on topics of its own, until stopped.
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
            "going on as run {} at {rate} events/s until stopped",
            recipe.run_id
        ));
        let traffic = Traffic::new(&recipe);
        let progress = Progress::new(None, SAY_TRICKLE_EVERY, Instant::now());
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
        if inspection.bad > 0 && !settings.skip_invalid {
            let all = inspection.bad + inspection.events;
            bail!(
                "{} of {all} are not valid, so nothing was sent; --skip-invalid sends the rest",
                inspection.bad
            );
        }
        let topics = inspection.topics.clone();
        say(format_args!(
            "{} events of {} topics to send",
            inspection.events,
            topics.len()
        ));
        let mut names: Vec<_> = topics.iter().map(Topic::to_string).collect();
        names.sort_unstable();
        let wanted = Wanted::Names(names);
        let verifier = verifier(jetstream.verify.as_ref())?;
        let Some(broker) = self.connect(jetstream).await? else {
            return Ok(nothing_sent(false));
        };
        let comparison = match verifier {
            None => None,
            Some(verifier) => {
                let baseline = unless_stopped(&self.stop, verifier.baseline(&wanted)).await;
                let Some(baseline) = baseline else {
                    return Ok(nothing_sent(false));
                };
                Some(Comparison {
                    baseline: baseline.context("nothing was sent")?,
                    verifier,
                    rule: Rule::Known {
                        unique: settings.expect_unique,
                    },
                    wanted,
                })
            }
        };
        let (events, bad) = (inspection.events, inspection.bad);
        let progress = Progress::new(Some(events), SAY_EVERY, Instant::now());
        let feed = Feed::start(inputs, Arc::new(inspection));
        let flow = self.flow(&broker, &topics, jetstream, jetstream.rate);
        let (sent, ended) = flow.run(feed, progress).await;
        let mut summary = Summary::new(&sent);
        summary.error = told(ended);
        summary.skipped_invalid = Some(bad);
        if let Some(comparison) = comparison {
            comparison
                .make(&topics, &sent, &mut summary, &self.stop)
                .await;
        }
        self.report(&summary)?;
        Ok(close(broker, &summary).await)
    }

    /// The broker, or none where it was stopped before.
    async fn connect(&self, jetstream: &JetStream) -> anyhow::Result<Option<Broker>> {
        let connecting = Broker::connect(
            &jetstream.servers,
            &jetstream.stream,
            jetstream.batch,
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
            rate,
            stop: &self.stop,
        }
    }

    /// What ends the verification. A run that was stopped because it has no end is verified all the same; a second
    /// signal ends that.
    fn stop_of_verification(&self, count: Option<u64>) -> CancellationToken {
        match count {
            None => CancellationToken::new(),
            Some(_) => self.stop.clone(),
        }
    }

    fn report(&self, summary: &(impl Display + Serialize)) -> anyhow::Result<()> {
        say(summary);
        if self.json {
            let json = serde_json::to_string(summary)?;
            writeln!(io::stdout(), "{json}")
                .context("cannot write the summary to standard output")?;
        }
        Ok(())
    }
}

fn verifier(address: Option<&Url>) -> anyhow::Result<Option<Verifier>> {
    Ok(address.map(Verifier::new).transpose()?)
}

/// What comes of it, or none where it is stopped before.
async fn unless_stopped<T>(
    stop: &CancellationToken,
    running: impl Future<Output = T>,
) -> Option<T> {
    stop.run_until_cancelled(running).await
}

fn nothing_sent(is_good: bool) -> ExitCode {
    say("stopped before anything was sent");
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Why it failed, in one line with its causes.
fn told<E: std::error::Error + std::marker::Send + Sync + 'static>(
    ended: Result<(), E>,
) -> Option<String> {
    let failed = ended.map_err(anyhow::Error::from).err()?;
    Some(format!("{failed:#}"))
}

/// Ends the publishing client, and the run with its exit code.
async fn close(broker: Broker, summary: &Summary) -> ExitCode {
    // What failed may have left messages under way, and nobody waits for them any more.
    if summary.error.is_none() {
        broker.close().await;
    }
    exit_code(summary)
}

fn exit_code(summary: &Summary) -> ExitCode {
    if summary.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
