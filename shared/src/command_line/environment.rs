//! Settings from environment variables. A variable is named after the program and the flag: `AGGREGATOR_DATA_DIR` for
//! `--data-dir` of `aggregator`. Old names without the program's name are still read.

use std::{
    env::var_os,
    ffi::{OsStr, OsString},
};

use clap::{Arg, ArgMatches, Command, builder::Resettable, error::ErrorKind, parser::ValueSource};

/// A variable's name, and the name that it had before.
pub type Renamed = (&'static str, &'static str);

/// A command line with the environment, and warnings about the latter.
#[derive(Debug)]
pub struct Parsed {
    /// The values of the flags.
    pub matches: ArgMatches,
    /// A sentence for each old name that the command uses. Values are left out: they may be secrets.
    pub warnings: Vec<String>,
}

/// Parses a command line. A variable that is not set is read by its old name; if both are set, the new one wins.
///
/// # Errors
/// Those of clap.
pub fn parse(
    command: &Command,
    renamed: &[Renamed],
    arguments: &[OsString],
) -> Result<Parsed, clap::Error> {
    let effective = effective(command, renamed, arguments);
    let matches = match effective.try_get_matches_from(arguments) {
        // The help names the variables that should be set.
        Err(err) if err.kind() == ErrorKind::DisplayHelp => {
            command.clone().try_get_matches_from(arguments)?
        }
        matches => matches?,
    };
    let warnings = warnings(command, renamed, &matches);
    Ok(Parsed { matches, warnings })
}

/// The command with the variables that are read: old names where only those are set. With a subcommand, the flags of the
/// program itself have none, so that a setting of another command cannot be invalid.
pub(super) fn effective(command: &Command, renamed: &[Renamed], arguments: &[OsString]) -> Command {
    let named = arguments.get(1).and_then(|name| name.to_str());
    let has_subcommand = named.is_some_and(|name| command.find_subcommand(name).is_some());
    let effective = with_old_names(command.clone(), renamed);
    if has_subcommand {
        effective.mut_args(|arg| arg.env(Resettable::Reset))
    } else {
        effective
    }
}

/// The command without its variables.
pub(super) fn without_variables(command: Command) -> Command {
    command
        .mut_args(|arg| arg.env(Resettable::Reset))
        .mut_subcommands(without_variables)
}

fn with_old_names(command: Command, renamed: &[Renamed]) -> Command {
    command
        .mut_args(|arg| match names(&arg, renamed) {
            Some((new, old)) if var_os(new).is_none() && var_os(old).is_some() => arg.env(old),
            _ => arg,
        })
        .mut_subcommands(|command| with_old_names(command, renamed))
}

fn names(arg: &Arg, renamed: &[Renamed]) -> Option<Renamed> {
    let env = arg.get_env().and_then(OsStr::to_str)?;
    renamed.iter().find(|(new, _)| *new == env).copied()
}

fn warnings(mut command: &Command, renamed: &[Renamed], matches: &ArgMatches) -> Vec<String> {
    let mut matches = matches;
    while let Some((name, of_subcommand)) = matches.subcommand() {
        let Some(subcommand) = command.find_subcommand(name) else {
            break;
        };
        (command, matches) = (subcommand, of_subcommand);
    }
    let is_read =
        |arg: &&Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::EnvVariable);
    let read = command.get_arguments().filter(is_read);
    read.filter_map(|arg| warning(names(arg, renamed)?))
        .collect()
}

fn warning((new, old): Renamed) -> Option<String> {
    let old_value = var_os(old)?;
    match var_os(new) {
        None => Some(format!("{old} is an old name: set {new} instead")),
        Some(value) if value != old_value => {
            Some(format!("{old} is ignored, because {new} has another value"))
        }
        Some(_) => None,
    }
}

/// Fails unless each variable is named after the program and its flag, or is one of those that other programs define, and
/// each old name belongs to a variable.
///
/// # Panics
/// With the name that is wrong. For tests.
pub fn check_names(command: &Command, renamed: &[Renamed], others: &[&str]) {
    let mut found = Vec::new();
    collect(command, &mut found);
    let prefix = command.get_name().to_uppercase();
    for (flag, name) in &found {
        let expected = format!("{prefix}_{}", flag.to_uppercase().replace('-', "_"));
        assert!(
            *name == expected || others.contains(&name.as_str()),
            "{name} of --{flag} is not {expected}"
        );
    }
    for (new, _) in renamed {
        assert!(found.iter().any(|(_, name)| name == new), "{new}");
    }
}

fn collect(command: &Command, found: &mut Vec<(String, String)>) {
    for arg in command.get_arguments() {
        let env = arg.get_env().and_then(OsStr::to_str);
        if let (Some(flag), Some(env)) = (arg.get_long(), env) {
            found.push((flag.to_owned(), env.to_owned()));
        }
    }
    for subcommand in command.get_subcommands() {
        collect(subcommand, found);
    }
}
