//! A hard limit on the memory of a contender, page cache included: a control group of its own, which needs root.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context, bail};

/// The control group, which is removed at the end.
#[derive(Debug)]
pub struct Limit(PathBuf);

impl Limit {
    /// Creates a control group whose processes together have at most `bytes` of memory, and no swap.
    pub fn new(bytes: u64) -> anyhow::Result<Self> {
        let name = format!("growth-{}", process::id());
        let versions = [
            ("/sys/fs/cgroup", "memory.max", "memory.swap.max"),
            (
                "/sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "memory.swappiness",
            ),
        ];
        for (root, limit, swap) in versions {
            let group = Path::new(root).join(&name);
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let group = Self(group);
            // Where swapping cannot be limited, there is none.
            let _ = fs::write(group.0.join(swap), "0");
            if fs::write(group.0.join(limit), bytes.to_string()).is_ok() {
                return Ok(group);
            }
        }
        bail!("no control group can be limited here: run the benchmark as root")
    }

    /// A command that runs this program in the control group.
    pub fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ >\"$0\" && exec \"$@\""])
            .arg(self.0.join("cgroup.procs"))
            .arg(env::current_exe().context("the program's own path is unknown")?);
        Ok(command)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
