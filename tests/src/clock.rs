//! A wall clock of a process that is ahead of this machine's, or behind it, by a number of seconds that can change.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::disk::run;

/// The library that shifts it, in C: what replaces a function of the C library needs `unsafe` in Rust.
const SOURCE: &str = include_str!("clock.c");

/// The clock of one process, or of several.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    shift: PathBuf,
}

impl Clock {
    /// Makes one that is right, with its files in this directory, where no other has the same name.
    ///
    /// # Errors
    /// Why the system does not allow it: the library is built with a C compiler, for Linux.
    pub fn new(directory: &Path, name: &str) -> Result<Self, String> {
        let library = directory.join("clock.so");
        if !library.exists() {
            let source = directory.join("clock.c");
            fs::write(&source, SOURCE).map_err(|err| err.to_string())?;
            let mut compiler = Command::new("cc");
            compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]);
            run(compiler.arg(&library).arg(&source).arg("-ldl"))?;
        }
        let shift = directory.join(name);
        fs::write(&shift, 0_i64.to_ne_bytes()).map_err(|err| err.to_string())?;
        Ok(Self { library, shift })
    }

    /// What a process must be started with to have this clock.
    pub fn environment(&self) -> [(&str, String); 2] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("CLOCK_SHIFT", self.shift.display().to_string()),
        ]
    }

    /// Sets it this many seconds ahead of the machine's, or behind it.
    pub fn shift(&self, seconds: i64) {
        // In place: the processes have the file mapped.
        let file = fs::File::options().write(true).open(&self.shift);
        let written = file.and_then(|file| file.write_all_at(&seconds.to_ne_bytes(), 0));
        written.expect("an own file can be written");
    }
}
