//! The lifecycle of a service: its tasks run and stop together, and no failure goes unnoticed.

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

/// How long tasks may take to end after the service begins to stop.
pub const STOP_DEADLINE: Duration = Duration::from_secs(9);

/// Tasks that run and stop together.
#[derive(Debug, Default)]
pub struct Service {
    token: CancellationToken,
    tasks: TaskTracker,
    failed: Arc<AtomicBool>,
}

impl Service {
    /// A token that is cancelled when the service must stop.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Starts a task. When it ends for any reason, the whole service stops; if it ends with an error or a panic, the exit
    /// code is a failure.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop_all = self.token.clone().drop_guard();
        let mut guard = FailureGuard {
            failed: Arc::clone(&self.failed),
            succeeded: false,
        };
        self.tasks.spawn(async move {
            let _stop_all = stop_all;
            match task.await {
                Ok(()) => guard.succeeded = true,
                Err(err) => error!(task = name, "stopping because a task failed: {err:#}"),
            }
            drop(guard);
        });
    }

    /// Waits for SIGTERM, SIGINT or the end of a task, then for all tasks to end. A second signal, or
    /// [`STOP_DEADLINE`], ends the wait immediately.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    pub async fn run(self) -> std::io::Result<ExitCode> {
        Ok(self.run_until(Signals::new()?).await)
    }

    /// As [`Self::run`], for callers that have installed the signal handlers already.
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
                warn!(signal = name, "stopping immediately");
                return ExitCode::FAILURE;
            }
            () = tokio::time::sleep(STOP_DEADLINE) => {
                error!("tasks did not end before the deadline; exiting without them");
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

/// Marks the service as failed when dropped, unless the task ended without an error or a panic.
struct FailureGuard {
    failed: Arc<AtomicBool>,
    succeeded: bool,
}

impl Drop for FailureGuard {
    fn drop(&mut self) {
        if !self.succeeded {
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
    /// Installs the signal handlers.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal and returns its name.
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
    async fn tasks_that_succeed_end_the_process_with_success() {
        let service = Service::default();
        service.spawn("ends", async { Ok(()) });
        let code = service.run().await.unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
    }
}
