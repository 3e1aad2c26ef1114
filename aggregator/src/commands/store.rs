//! `aggregator store`: prepares a store in a database.

pub mod copy;
mod init;

use std::process::ExitCode;

use crate::store::Address;

/// What is done.
#[derive(Debug)]
pub enum Action {
    /// Creates or changes the tables.
    Init(Init),
    /// Copies a store from a directory to a database.
    Copy(copy::Settings),
}

/// Which tables are created or changed.
#[derive(Debug)]
pub struct Init {
    /// The database.
    pub address: Address,
    /// Whether the statements are only printed.
    pub is_dry: bool,
}

/// Runs the command.
///
/// # Errors
/// If the database cannot be used, or a store cannot be copied.
pub async fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Init(settings) => init::run(settings).await?,
        Action::Copy(settings) => copy::run(settings).await?,
    }
    Ok(ExitCode::SUCCESS)
}
