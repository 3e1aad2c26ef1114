//! A disk in a file: ext4 on a loop device, and copies of what the device has received.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use e2e::wait::{eventually, holds};

/// Sparse: only written blocks take space.
const BYTES: u64 = 1 << 30;

/// A mounted file system in an image file. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct Disk {
    mount: Mount,
    device: Device,
    image: PathBuf,
}

/// Whether power cuts can be tried on this machine.
///
/// # Errors
/// Why not.
pub fn can_be_tried() -> Result<(), String> {
    if env::consts::OS != "linux" {
        return Err(format!("it needs Linux, not {}", env::consts::OS));
    }
    if !rustix::process::geteuid().is_root() {
        return Err("it needs root, for loop devices and mounts".to_owned());
    }
    let scratch = tempfile::tempdir().map_err(|err| err.to_string())?;
    let disk = Disk::create(scratch.path(), "trial");
    disk.map(drop)
        .map_err(|err| format!("no image can be mounted here: {err}"))
}

impl Disk {
    /// Creates an empty one, as two entries in `directory`.
    ///
    /// # Errors
    /// The output of the tool that failed.
    pub fn create(directory: &Path, name: &str) -> Result<Self, String> {
        let image = directory.join(format!("{name}.img"));
        let file = fs::File::create_new(&image).map_err(|err| err.to_string())?;
        file.set_len(BYTES).map_err(|err| err.to_string())?;
        // No lazy initialization, because the kernel's writes would fall between copies.
        let lazy = "lazy_itable_init=0,lazy_journal_init=0";
        let sizes = ["-N", "4096", "-J", "size=16"];
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-E", lazy])
            .args(sizes)
            .arg(&image))?;
        Self::open(image)
    }

    /// Mounts an image, next to it. The file system replays its journal, as after any power cut.
    ///
    /// # Errors
    /// The output of the tool that failed.
    pub fn open(image: PathBuf) -> Result<Self, String> {
        let point = image.with_extension("mount");
        fs::create_dir(&point).map_err(|err| err.to_string())?;
        let device = Device::attach(&image)?;
        let mount = Mount::new(&device.0, point)?;
        Ok(Self {
            mount,
            device,
            image,
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount.0
    }

    /// Makes the kernel write what it holds for this disk.
    ///
    /// # Errors
    /// The output of the tool that failed.
    pub fn sync(&self) -> Result<(), String> {
        run(Command::new("sync").arg("--file-system").arg(self.path())).map(drop)
    }

    /// Copies what the device has received, as of one moment. A copy during which the device receives a write would
    /// mix moments into a state that no power cut leaves behind, so it is repeated. Nothing is synced.
    pub async fn copy(&self, name: &str) -> PathBuf {
        let copy = self.image.with_file_name(format!("{name}.img"));
        eventually("the disk is copied while nothing reaches it", async || {
            let before = self.device.received()?;
            run(Command::new("cp")
                .args(["--sparse=always", "--reflink=auto"])
                .args([&self.image, &copy]))?;
            let after = self.device.received()?;
            holds(before == after, (before, after))
        })
        .await;
        copy
    }

    /// Unmounts it and deletes the image.
    ///
    /// # Errors
    /// If the image cannot be deleted.
    pub fn discard(self) -> Result<(), String> {
        let image = self.image.clone();
        drop(self);
        fs::remove_file(image).map_err(|err| err.to_string())
    }
}

/// A loop device. It is detached when this is dropped.
#[derive(Debug)]
struct Device(String);

impl Device {
    fn attach(image: &Path) -> Result<Self, String> {
        let attach = |flags: &[&str]| {
            run(Command::new("losetup")
                .args(["--find", "--show"])
                .args(flags)
                .arg(image))
        };
        // Without direct I/O, what the device has received is in the page cache of the image, which a copy reads as
        // well.
        let device = attach(&["--direct-io=on"]).or_else(|_| attach(&[]))?;
        Ok(Self(device.trim().to_owned()))
    }

    /// The numbers of writes, sectors written and discards that it has completed.
    ///
    /// # Errors
    /// If some are in flight.
    fn received(&self) -> Result<[u64; 3], String> {
        let name = self.0.trim_start_matches("/dev/");
        let statistics = fs::read_to_string(format!("/sys/block/{name}/stat"));
        let statistics = statistics.map_err(|err| err.to_string())?;
        // The order is documented in the kernel's Documentation/block/stat.rst.
        let numbers: Vec<u64> = statistics
            .split_whitespace()
            .map_while(|number| number.parse().ok())
            .collect();
        let field = |place: usize| numbers.get(place).copied().ok_or(&statistics);
        let [writes, sectors, in_flight, discards] = [field(4)?, field(6)?, field(8)?, field(11)?];
        holds(in_flight == 0, &statistics)?;
        Ok([writes, sectors, discards])
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Err(err) = run(Command::new("losetup").args(["--detach", &self.0])) {
            eprintln!("{err}");
        }
    }
}

/// A mount point. It is unmounted when this is dropped.
#[derive(Debug)]
struct Mount(PathBuf);

impl Mount {
    fn new(device: &str, point: PathBuf) -> Result<Self, String> {
        run(Command::new("mount")
            .args(["-t", "ext4", device])
            .arg(&point))?;
        Ok(Self(point))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = run(Command::new("umount").arg(&self.0))
            // A process still has a file open; the mount ends when it is closed.
            .or_else(|_| run(Command::new("umount").arg("--lazy").arg(&self.0)));
        if let Err(err) = unmounted {
            eprintln!("{err}");
        }
    }
}

/// Runs a tool and returns its output.
fn run(command: &mut Command) -> Result<String, String> {
    // Debian installs some of them in directories that are not on every user's PATH.
    let path = env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let output = command
        .output()
        .map_err(|err| format!("{}: {err}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}: {}", output.status, said.trim()))
}
