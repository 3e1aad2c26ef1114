//! The machine that the process runs on, as Linux describes it in `/proc` and `/sys`. What cannot be read is left out.

use std::{
    env::consts,
    fs::{self, DirEntry},
    io,
    num::NonZero,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread::available_parallelism,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The machine, and the share of it that the process may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Machine {
    /// The operating system, the version of its kernel, and the architecture.
    pub system: String,
    /// CPUs that the process may use, by its affinity and the quota of its control group.
    #[schema(required)]
    pub cpus: Option<usize>,
    /// Memory of the machine.
    #[schema(required)]
    pub memory_bytes: Option<u64>,
    /// The memory limit of the process's control group; null if it has none.
    #[schema(required)]
    pub memory_limit_bytes: Option<u64>,
    /// Memory that the process uses.
    #[schema(required)]
    pub resident_bytes: Option<u64>,
}

impl Machine {
    /// The machine of this process.
    #[must_use]
    pub fn this() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let words = [consts::OS, kernel.trim(), consts::ARCH];
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        Self {
            system: words.join(" "),
            cpus: available_parallelism().ok().map(NonZero::get),
            memory_bytes: kibibytes("/proc/meminfo", "MemTotal:"),
            memory_limit_bytes: memory_limit(),
            resident_bytes: resident_bytes(),
        }
    }
}

/// The resident memory of this process, in bytes.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    kibibytes("/proc/self/status", "VmRSS:")
}

/// A figure of a file of `/proc`, in bytes.
fn kibibytes(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes: u64 = line?.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The lowest memory limit of this process's control group and of those that contain it, in bytes.
fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let files = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // In a container this may be the path on the host. Inside the container only the root of the hierarchy exists then.
        let groups = Path::new(path.trim_start_matches('/')).ancestors();
        Some(groups.map(move |group| Path::new(root).join(group).join(file)))
    });
    let limits = files.flatten().filter_map(|file| {
        let limit: u64 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
        // Version 1 of control groups reports a huge number if there is no limit.
        (limit < 1 << 60).then_some(limit)
    });
    limits.min()
}

/// The file system of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileSystem {
    /// Its type, such as `ext4`.
    pub kind: String,
    /// Where it is mounted.
    pub mounted_at: String,
    /// The options of the mount.
    pub options: String,
    /// Whether its type is one that other machines may share.
    pub is_network: bool,
}

/// Types of file systems that other machines may share. SQLite's WAL needs memory that all users of the file share.
const NETWORK: [&str; 16] = [
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "fuse.glusterfs",
    "fuse.s3fs",
    "fuse.sshfs",
    "gfs2",
    "gpfs",
    "lustre",
    "nfs",
    "nfs4",
    "ocfs2",
    "smb3",
    "smbfs",
];

impl FileSystem {
    /// The file system of a directory; `None` where it cannot be determined.
    #[must_use]
    pub fn of(directory: &Path) -> Option<Self> {
        let device = fs::metadata(directory).ok()?.dev();
        let directory = directory.canonicalize().ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Self::among(&mounts, &directory, device)
    }

    /// The last mount of the longest path that contains the directory, preferably of the same device: a mount below
    /// another one of the same path hides it.
    fn among(mounts: &str, directory: &Path, device: u64) -> Option<Self> {
        let device = format!(
            "{}:{}",
            rustix::fs::major(device),
            rustix::fs::minor(device)
        );
        let mounts = mounts.lines().filter_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            let rest = fields.iter().position(|field| *field == "-")?;
            let path = unescaped(fields.get(4)?);
            let is_above = directory.starts_with(&path);
            let rank = (path.len(), fields.get(2) == Some(&device.as_str()));
            is_above.then_some((rank, path, *fields.get(5)?, *fields.get(rest + 1)?))
        });
        let (_, mounted_at, options, kind) = mounts.max_by_key(|(rank, ..)| *rank)?;
        Some(Self {
            kind: kind.to_owned(),
            mounted_at,
            options: options.to_owned(),
            is_network: NETWORK.contains(&kind),
        })
    }
}

/// A path of the list of mounts, in which white space and backslashes are octal.
fn unescaped(path: &str) -> String {
    let spaces = path.replace("\\040", " ").replace("\\011", "\t");
    spaces.replace("\\012", "\n").replace("\\134", "\\")
}

/// Free and total bytes of the file system of a file or directory, for users other than root.
///
/// # Errors
/// Those of the system.
pub fn space(path: &Path) -> io::Result<(u64, u64)> {
    let found = rustix::fs::statvfs(path)?;
    Ok((
        found.f_bavail * found.f_frsize,
        found.f_blocks * found.f_frsize,
    ))
}

/// Bytes of all files in a folder and in those below it. A file that is deleted meanwhile, as by a merge of the dedup index, is
/// not counted.
///
/// # Errors
/// If the folder cannot be read.
pub fn folder_bytes(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        bytes += entry_bytes(&entry?).unwrap_or(0);
    }
    Ok(bytes)
}

/// Bytes of a file, or of all files in a folder; `None` if it was deleted meanwhile.
#[must_use]
pub fn entry_bytes(entry: &DirEntry) -> Option<u64> {
    let found = entry.metadata().ok()?;
    Some(if found.is_dir() {
        folder_bytes(&entry.path()).unwrap_or(0)
    } else {
        found.len()
    })
}

/// The name of this machine, or of its container.
#[must_use]
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "this host".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv rw - nfs4 host:/srv rw
31 30 8:2 / /srv/my\\040data rw,noatime shared:2 master:1 - xfs /dev/sdb rw
32 31 8:3 / /srv/my\\040data rw - btrfs /dev/sdc rw";

    fn kind(directory: &str) -> (String, bool) {
        let found = FileSystem::among(MOUNTS, Path::new(directory), rustix::fs::makedev(8, 1));
        let found = found.unwrap();
        (found.kind, found.is_network)
    }

    #[test]
    fn the_file_system_is_that_of_the_last_mount_of_the_longest_path() {
        assert_eq!(kind("/var/lib"), ("ext4".to_owned(), false));
        assert_eq!(kind("/srv/other"), ("nfs4".to_owned(), true));
        assert_eq!(kind("/srv/my data/events"), ("btrfs".to_owned(), false));
        assert_eq!(kind("/srv2"), ("ext4".to_owned(), false));
    }

    #[test]
    fn this_machine_has_memory_and_a_file_system_with_space() {
        let machine = Machine::this();
        assert!(machine.resident_bytes < machine.memory_bytes, "{machine:?}");
        assert!(machine.cpus > Some(0), "{machine:?}");
        let directory = tempfile::tempdir().unwrap();
        let found = FileSystem::of(directory.path()).unwrap();
        assert!(!found.kind.is_empty() && !found.is_network, "{found:?}");
        let (free, total) = space(directory.path()).unwrap();
        assert!(free > 0 && free <= total, "{free} of {total}");
    }
}
