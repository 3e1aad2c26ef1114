//! The address of a store in a database, and the flags of `aggregator store`.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Subcommand, builder::Resettable, parser::ValueSource};
use shared::command_line::path;

use super::help;
use crate::{
    commands::store::{Action, Init as InitSettings, copy},
    store::Address,
};

/// The database that holds the store, for commands that also work on a directory.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct DatabaseFlag {
    /// Database that holds the store, as for serve
    #[arg(
        long,
        env = "AGGREGATOR_STORE",
        hide_env_values = true,
        value_name = "URL"
    )]
    store: Option<String>,
}

impl DatabaseFlag {
    /// The database, if there is one.
    ///
    /// # Errors
    /// One line that says what is wrong with its address.
    pub fn address(&self) -> Result<Option<Address>, String> {
        self.store
            .as_deref()
            .map(|url| parse("--store", url))
            .transpose()
    }
}

/// Whether the command line names a directory, and only the environment a database.
pub(super) fn is_overridden(matches: &ArgMatches) -> bool {
    let matches = matches.subcommand().map_or(matches, |(_, of)| of);
    let is_from = |id: &str, source| {
        // The others have no such flag.
        matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(source)
    };
    is_from("data_dir", ValueSource::CommandLine) && is_from("store", ValueSource::EnvVariable)
}

/// The command whose flag for a database has no variable.
pub(super) fn without_variable(command: clap::Command) -> clap::Command {
    let reset = |arg: clap::Arg| {
        if arg.get_id() == "store" {
            arg.env(Resettable::Reset)
        } else {
            arg
        }
    };
    command
        .mut_args(reset)
        .mut_subcommands(move |command| command.mut_args(reset))
}

/// Why `backup` does not copy a store in a database.
pub(super) fn not_copied(address: &Address) -> String {
    format!(
        "--store (or AGGREGATOR_STORE) names a database, {address}, and backup copies a store in a directory: back up the database with its own \
         tools, pg_dump for its content at one moment, or pg_basebackup and the archive of the WAL for the whole server up to any moment"
    )
}

#[derive(Debug, Args)]
pub(super) struct Store {
    #[command(subcommand)]
    action: Actions,
}

#[derive(Debug, Subcommand)]
enum Actions {
    /// Print the statements that create or change the tables of a store in a database, and run them
    Init(Init),
    /// Copy the store of a stopped aggregator from its directory to a database, continue a copy that was interrupted, and compare it
    #[command(after_help = help::STORE_COPY)]
    Copy(Copy),
}

#[derive(Debug, Args)]
struct Init {
    #[command(flatten)]
    database: DatabaseFlag,

    /// Print the statements, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct Copy {
    /// Directory of the store, which no aggregator may use meanwhile
    #[arg(
        long,
        env = "AGGREGATOR_DATA_DIR",
        default_value = "./data",
        value_name = "DIR",
        value_parser = path()
    )]
    from: PathBuf,

    /// Database that the store is copied to, as for serve: empty, or with a part of a copy of this store
    #[arg(
        long,
        env = "AGGREGATOR_STORE",
        hide_env_values = true,
        value_name = "URL"
    )]
    to: Option<String>,
}

impl Store {
    /// The settings of the command.
    ///
    /// # Errors
    /// One line that names the invalid setting.
    pub fn settings(self) -> Result<Action, String> {
        match self.action {
            Actions::Init(Init { database, dry_run }) => {
                let address = database.address()?.ok_or(
                    "--store is missing: give the address of the database, postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full, or set AGGREGATOR_STORE",
                )?;
                Ok(Action::Init(InitSettings {
                    address,
                    is_dry: dry_run,
                }))
            }
            Actions::Copy(Copy { from, to }) => {
                let to = to.ok_or(
                    "--to is missing: give the address of the database, or set AGGREGATOR_STORE",
                )?;
                let to = parse("--to", &to)?;
                Ok(Action::Copy(copy::Settings { from, to }))
            }
        }
    }
}

/// The address that a flag gives. Not by clap, which would print an invalid value, and with it the password.
pub(super) fn parse(flag: &str, url: &str) -> Result<Address, String> {
    let address = url.parse::<Address>();
    let checked = address.and_then(|address| {
        address.check_passfile()?;
        Ok(address)
    });
    checked.map_err(|err| format!("{flag} {err}"))
}
