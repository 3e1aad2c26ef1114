//! The memory of this process, as Linux tells it.

use std::fs;

/// What is resident now, in bytes.
pub fn resident() -> Option<u64> {
    field("VmRSS:")
}

/// The most that was resident at once, in bytes.
pub fn peak() -> Option<u64> {
    field("VmHWM:")
}

fn field(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
