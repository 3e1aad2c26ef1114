//! The two runs, from their settings to their exit codes: generate, and send.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use shared::{connection::ServerAddr, event::Topic};
use tokio::{task::spawn_blocking, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::Broker,
    config::{Common, Generate, Send, Settings, Task},
    flow::{Flow, Sent},
    input::{Feed, inspect},
    pace::Rate,
    progress::{Progress, say},
    summary::Summary,
    traffic::{Generator, Recipe, Traffic},
    verify::{Counts, Rule, Verifier, Wanted, table},
};

/// How often a plain line says how far it is; of the slow traffic that follows a run, less often.
const SAY_EVERY: Duration = Duration::from_secs(1);
const SAY_TRICKLE_EVERY: Duration = Duration::from_mins(1);

/// Runs what the settings say, until its end or until it is stopped.
///
/// # Errors
/// What ends it early, in one sentence.
pub async fn run(settings: Settings, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let Settings {
        common,
        nats_url,
        task,
    } = settings;
    let run = Run {
        common,
        nats_url,
        stop,
    };
    match task {
        Task::Generate(settings) => run.generate(&settings).await,
        Task::Send(settings) => run.send(&settings).await,
    }
}

/// What both runs have.
struct Run {
    common: Common,
    nats_url: ServerAddr,
    stop: CancellationToken,
}

impl Run {
    async fn generate(&self, settings: &Generate) -> anyhow::Result<ExitCode> {
        let recipe = Recipe {
            seed: settings.seed,
            run_id: settings.run_id(),
            topics: settings.topics,
            share: settings.duplicates,
            payload_bytes: settings.payload_bytes as usize,
        };
        let traffic = Traffic::new(&recipe);
        let count = (settings.count > 0).then_some(settings.count);
        say(format_args!("run {}: {recipe}", recipe.run_id));
        let verifier = self.verifier()?;
        let Some(broker) = self.connect().await? else {
            return Ok(nothing_sent(count.is_none()));
        };
        let wanted = Wanted::Prefix(recipe.topic_prefix());
        let was_used_before = match &verifier {
            Some(verifier) => verifier.has_now(&wanted).await,
            None => false,
        };
        let progress = Progress::new(count, SAY_EVERY, Instant::now());
        let generator = Generator::new(&traffic, count);
        let flow = self.flow(&broker, traffic.topics(), self.common.rate);
        let (mut sent, ended) = flow.run(generator, progress).await;
        // Without an end, to be stopped is the end.
        sent.complete |= count.is_none() && ended.is_ok();
        let mut summary = Summary::new(&sent);
        summary.error = told(ended);
        (summary.run_id, summary.seed) = (Some(recipe.run_id.clone()), Some(recipe.seed));
        if let Some(verifier) = verifier {
            let comparison = Comparison {
                verifier,
                baseline: HashMap::new(),
                rule: Rule::Fresh { was_used_before },
                wanted,
            };
            // A run that was stopped because it has no end is verified all the same; a second signal ends that.
            let stop = if count.is_none() {
                CancellationToken::new()
            } else {
                self.stop.clone()
            };
            comparison
                .make(traffic.topics(), &sent, &mut summary, &stop)
                .await;
        }
        self.report(&summary)?;
        if summary.is_good() && !settings.then_rate.is_unlimited() {
            self.trickle(&broker, recipe, settings.then_rate).await?;
        }
        Ok(close(broker, &summary).await)
    }

    /// Goes on slowly, on topics of its own, until stopped.
    async fn trickle(&self, broker: &Broker, run: Recipe, rate: Rate) -> anyhow::Result<()> {
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
        let flow = self.flow(broker, traffic.topics(), rate);
        let (mut sent, ended) = flow.run(Generator::new(&traffic, None), progress).await;
        sent.complete = ended.is_ok();
        say(Summary::new(&sent));
        Ok(ended?)
    }

    async fn send(&self, settings: &Send) -> anyhow::Result<ExitCode> {
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
        let verifier = self.verifier()?;
        let Some(broker) = self.connect().await? else {
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
        let flow = self.flow(&broker, &topics, self.common.rate);
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

    fn verifier(&self) -> anyhow::Result<Option<Verifier>> {
        let verifier = self.common.verify.as_ref().map(Verifier::new);
        Ok(verifier.transpose()?)
    }

    /// The broker, or none where it was stopped before.
    async fn connect(&self) -> anyhow::Result<Option<Broker>> {
        let (stream, batch) = (&self.common.stream, self.common.batch as usize);
        let connecting = Broker::connect(&self.nats_url, stream, batch);
        unless_stopped(&self.stop, connecting).await.transpose()
    }

    fn flow<'a>(&'a self, broker: &'a Broker, topics: &'a [Topic], rate: Rate) -> Flow<'a> {
        Flow {
            publisher: &broker.publisher,
            connection: &broker.connection,
            topics,
            batch: self.common.batch as usize,
            rate,
            stop: &self.stop,
        }
    }

    fn report(&self, summary: &Summary) -> anyhow::Result<()> {
        say(summary);
        if self.common.json {
            let json = serde_json::to_string(summary)?;
            writeln!(io::stdout(), "{json}")
                .context("cannot write the summary to standard output")?;
        }
        Ok(())
    }
}

/// A verification to come.
struct Comparison {
    verifier: Verifier,
    baseline: HashMap<String, Counts>,
    rule: Rule,
    wanted: Wanted,
}

impl Comparison {
    /// Compares, shows the table, and adds what was found to the summary. What was not sent to its end is not compared.
    async fn make(
        &self,
        topics: &[Topic],
        sent: &Sent,
        summary: &mut Summary,
        stop: &CancellationToken,
    ) {
        let Self {
            verifier,
            baseline,
            rule,
            wanted,
        } = self;
        if !sent.complete {
            return;
        }
        let names = topics.iter().map(Topic::to_string);
        let by_topic: BTreeMap<_, _> = names
            .zip(sent.topics.iter().copied())
            .filter(|(_, tally)| tally.sent > 0)
            .collect();
        let verifying = verifier.verify(&by_topic, wanted, baseline, *rule);
        match unless_stopped(stop, verifying).await {
            Some(Ok(verified)) => {
                say(table(&verified.verdict, *rule));
                summary.add(&verified, sent);
            }
            Some(Err(err)) => summary.add_failure(err.to_string()),
            None => summary.add_failure("stopped before the aggregator was through".to_owned()),
        }
    }
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
    if summary.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
