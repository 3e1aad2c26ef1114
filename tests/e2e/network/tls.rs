//! HTTPS: handshakes, certificates that are replaced, client certificates, and the commands that connect.

mod audit;
mod client;
mod clients;
mod commands;
mod handshake;
mod identity;
mod rotation;
mod secrets;

use e2e::{
    System,
    authority::{Authority, Files},
};
use tempfile::TempDir;

/// A system that speaks HTTPS.
struct Encrypted {
    system: System,
    authority: Authority,
    files: Files,
    directory: TempDir,
}

impl Encrypted {
    async fn start() -> Self {
        Self::with(|_, _| Vec::new()).await
    }

    /// With the flags that `more` makes of the directory and the authority.
    async fn with(more: impl FnOnce(&TempDir, &Authority) -> Vec<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::default();
        let files = Files::new(directory.path(), &authority);
        let more = more(&directory, &authority);
        let mut flags = files.flags().to_vec();
        flags.extend(more.iter().map(String::as_str));
        Self {
            system: System::with(&flags).await,
            authority,
            files,
            directory,
        }
    }
}
