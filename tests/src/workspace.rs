//! The workspace's files, and the services built from it.

use std::{env, path::PathBuf};

/// The root of the workspace.
pub fn root() -> PathBuf {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = package.parent().expect("the package is in the workspace");
    root.to_owned()
}

/// The directory of the built services: that of this binary's profile, or the one named by `E2E_BIN_DIR`.
pub fn binaries() -> PathBuf {
    if let Some(directory) = env::var_os("E2E_BIN_DIR") {
        return directory.into();
    }
    let this = env::current_exe().expect("a process knows its program");
    let directory = this.parent().expect("a program is in a directory");
    // Cargo puts test binaries into <profile>/deps, and others next to the services.
    let profile = directory.parent().filter(|_| directory.ends_with("deps"));
    profile.unwrap_or(directory).to_owned()
}

/// A built service.
pub fn binary(name: &str) -> PathBuf {
    let file = binaries().join(name);
    assert!(
        file.exists(),
        "{} does not exist; build the services first: cargo build --workspace",
        file.display()
    );
    file
}
