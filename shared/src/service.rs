//! The life of a service: its tasks start together, are told to stop together, and none dies unnoticed.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

/// How long tasks have to end after they were told to.
pub const STOP_DEADLINE: Duration = Duration::from_secs(9);

/// Tasks that live and end together.
#[derive(Debug, Default)]
pub struct Service {
    token: CancellationToken,
    tasks: TaskTracker,
    failed: Arc<AtomicBool>,
}

impl Service {
    /// Cancelled when the service is to stop.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Starts a task. When it ends, for whatever reason, the whole service stops; when it ends with an
    /// error or a panic, the process fails.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop_all = self.token.clone().drop_guard();
        let mut outcome = Outcome {
            failed: Arc::clone(&self.failed),
            ended_well: false,
        };
        self.tasks.spawn(async move {
            let _stop_all = stop_all;
            match task.await {
                Ok(()) => outcome.ended_well = true,
                Err(err) => error!(task = name, "stopping because of a failure: {err:#}"),
            }
            drop(outcome);
        });
    }

    /// Waits for SIGTERM, SIGINT or the end of a task, then for all tasks to end. A second signal, or
    /// [`STOP_DEADLINE`], ends the wait at once.
    ///
    /// # Errors
    /// Where the signals cannot be listened to.
    pub async fn run(self) -> std::io::Result<ExitCode> {
        Ok(self.run_until(Signals::new()?).await)
    }

    /// As [`Self::run`], for who listens to the signals already.
    pub async fn run_until(self, mut signals: Signals) -> ExitCode {
        tokio::select! {
            name = signals.next() => info!(signal = name, "stopping"),
            () = self.token.cancelled() => {}
        }
        self.token.cancel();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => {}
            name = signals.next() => {
                warn!(signal = name, "stopping at once");
                return ExitCode::FAILURE;
            }
            () = tokio::time::sleep(STOP_DEADLINE) => {
                error!("tasks did not end in time; stopping without them");
                return ExitCode::FAILURE;
            }
        }
        if self.failed.load(Ordering::Relaxed) {
            return ExitCode::FAILURE;
        }
        info!("stopped");
        ExitCode::SUCCESS
    }
}

/// Marks the process as failed unless its task came to a good end; a panic comes to none.
struct Outcome {
    failed: Arc<AtomicBool>,
    ended_well: bool,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if !self.ended_well {
            self.failed.store(true, Ordering::Relaxed);
        }
    }
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// Where the system does not let it.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of them and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_fails_stops_the_others_and_fails_the_process() {
        let service = Service::default();
        let token = service.token();
        service.spawn("waits", async move {
            token.cancelled().await;
            Ok(())
        });
        service.spawn("fails", async { anyhow::bail!("on purpose") });
        let code = service.run().await.unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
    }

    #[tokio::test]
    async fn a_task_that_panics_fails_the_process() {
        let service = Service::default();
        service.spawn("panics", async { panic!("on purpose") });
        let code = service.run().await.unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
    }

    #[tokio::test]
    async fn tasks_that_end_well_end_the_process_well() {
        let service = Service::default();
        service.spawn("ends", async { Ok(()) });
        let code = service.run().await.unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
    }
}
