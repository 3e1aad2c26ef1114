//! The memory of this process, as reported by Linux.

use std::fs;

/// The resident memory, in bytes.
pub fn resident() -> Option<u64> {
    field("VmRSS:")
}

/// The peak resident memory, in bytes.
pub fn peak() -> Option<u64> {
    field("VmHWM:")
}

fn field(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
