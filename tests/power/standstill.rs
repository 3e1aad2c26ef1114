//! Stops processes in the middle of their work.

use std::fs;

use e2e::{
    service::{Service, Signal},
    wait::{eventually, holds},
};

/// Sends all of them SIGSTOP, and waits until each of their threads is stopped.
pub async fn stop(services: &mut [&mut Service]) {
    for service in &mut *services {
        service.signal(Signal::STOP);
    }
    for service in services {
        let id = service.id();
        eventually("a process is stopped", async || is_still(id)).await;
    }
}

/// Whether all threads are stopped; one in a system call finishes that first.
fn is_still(id: u32) -> Result<(), String> {
    let threads = fs::read_dir(format!("/proc/{id}/task")).map_err(|err| err.to_string())?;
    for thread in threads {
        let thread = thread.map_err(|err| err.to_string())?.path();
        // The thread may have ended.
        let Ok(status) = fs::read_to_string(thread.join("stat")) else {
            continue;
        };
        // The name, in parentheses, may contain any characters.
        let state = status.rsplit(") ").next().unwrap_or_default();
        holds(state.starts_with(['T', 'Z', 'X']), &status)?;
    }
    Ok(())
}
