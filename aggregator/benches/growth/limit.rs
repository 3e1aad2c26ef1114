//! A hard limit on the memory of a contender, page cache included: a control group of its own, which needs root.

use std::{
    env,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::Context;

/// The control group, which is removed at the end.
#[derive(Debug)]
pub struct Limit(PathBuf);

impl Limit {
    /// Creates a control group whose processes together have at most `bytes` of memory, and no swap.
    pub fn new(bytes: u64) -> anyhow::Result<Self> {
        let first = Path::new("/sys/fs/cgroup/memory");
        let (root, limit, swap) = if first.is_dir() {
            (first, "memory.limit_in_bytes", "memory.swappiness")
        } else {
            (Path::new("/sys/fs/cgroup"), "memory.max", "memory.swap.max")
        };
        let group = root.join(format!("growth-{}", process::id()));
        let cannot = "the memory cannot be limited: run the benchmark as root";
        fs::create_dir(&group).context(cannot)?;
        let group = Self(group);
        // The system creates these files. Where swapping cannot be limited, there is none.
        let set = |file, value: String| {
            let mut file = File::options().write(true).open(group.0.join(file))?;
            file.write_all(value.as_bytes())
        };
        let _ = set(swap, "0".to_owned());
        set(limit, bytes.to_string()).context(cannot)?;
        Ok(group)
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
