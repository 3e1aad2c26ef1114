//! A small, private disk that can be filled.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A file system in memory with a fixed size. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct Disk {
    directory: TempDir,
}

/// Takes all free space of a disk until it is dropped.
#[derive(Debug)]
#[must_use = "the space is free again when this is dropped"]
pub struct Filler(PathBuf);

impl Disk {
    /// Mounts one.
    ///
    /// # Errors
    /// Why the system does not allow it: only root may, on Linux.
    pub fn new(mebibytes: u32) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|err| err.to_string())?;
        let size = format!("size={mebibytes}m");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(directory.path()))?;
        Ok(Self { directory })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Takes all free space.
    pub fn fill(&self) -> Filler {
        let path = self.path().join("filler");
        let mut file = File::create(&path).expect("a file can be created");
        let mut chunk = vec![0; 1024 * 1024];
        while !chunk.is_empty() {
            if file.write_all(&chunk).is_err() {
                chunk.truncate(chunk.len() / 2);
            }
        }
        Filler(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        // It may be gone with its disk.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that still has a file open there may end later.
        let unmounted = run(Command::new("umount").arg("--lazy").arg(self.path()));
        if let Err(err) = unmounted {
            eprintln!("{} stays mounted: {err}", self.path().display());
        }
    }
}

/// Runs a system command to its end.
///
/// # Errors
/// What it printed, if it failed.
pub fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|err| format!("{}: {err}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Replaces the directory `to` with a copy of `from`.
pub fn copy_directory(from: &Path, to: &Path) {
    if to.exists() {
        empty(to);
    } else {
        std::fs::create_dir_all(to).expect("a directory can be created");
    }
    let everything = from.join(".");
    let copied = run(Command::new("cp").arg("-a").arg(everything).arg(to));
    copied.expect("a directory can be copied");
}

/// Deletes the contents of a directory, which may be a mounted disk.
fn empty(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.expect("it can be removed");
    }
}
