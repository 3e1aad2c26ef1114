//! The answers to wrong usage: one line each, which says what to type instead.

mod meant;
mod secrets;

use std::ffi::{OsStr, OsString};

use clap::{
    Arg, Command, Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    environment::{Renamed, effective, without_variables},
    one_line,
};

/// A program of this system and its commands.
pub type Program = (&'static str, &'static [&'static str]);

/// The answer to a command line that clap refuses. `other` is the program that the command may belong to.
#[must_use]
pub fn answer(
    err: Error,
    command: &Command,
    renamed: &[Renamed],
    arguments: &[OsString],
    other: Program,
) -> String {
    // Preferably the error without the environment: clap would show flags that a variable sets as part of the usage.
    let plain = without_variables(command.clone());
    let typed = plain.clone().try_get_matches_from(arguments).err();
    let typed = typed.filter(|typed| typed.kind() == err.kind());
    let is_typed = typed.is_some();
    let mut err = typed.unwrap_or(err);
    secrets::hide(&mut err);
    let text = |kind| match err.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let better = match err.kind() {
        ErrorKind::UnknownArgument => text(ContextKind::InvalidArg)
            .and_then(|argument| unknown_argument(argument, &plain, arguments)),
        ErrorKind::InvalidSubcommand => text(ContextKind::InvalidSubcommand)
            .and_then(|name| unknown_command(name, &plain, arguments, other)),
        ErrorKind::ArgumentConflict => text(ContextKind::InvalidSubcommand)
            .and_then(|name| flags_before(name, &plain, err.get(ContextKind::PriorArg)?)),
        _ => None,
    };
    let line = better.unwrap_or_else(|| one_line(&err.to_string()));
    if is_typed {
        return line;
    }
    let effective = effective(command, renamed, arguments);
    let flag = text(ContextKind::InvalidArg);
    match flag.and_then(|flag| variable(flag, &effective, arguments)) {
        Some(variable) => format!("{line}; the value is that of {variable}"),
        None => line,
    }
}

fn unknown_command(
    name: &str,
    program: &Command,
    arguments: &[OsString],
    other: Program,
) -> Option<String> {
    if other.1.contains(&name) {
        let program = other.0;
        return Some(format!(
            "error: {name} is a command of {program}: {program} {name}"
        ));
    }
    if arguments.get(1).is_some_and(|first| first == "help") {
        // Only without "help" does clap look for a similar command.
        let arguments = [program.get_name(), name];
        let err = program.clone().try_get_matches_from(arguments).err()?;
        return Some(one_line(&err.to_string()));
    }
    let meant = meant::instead_of_a_command(name, program)?;
    Some(format!("error: unexpected argument '{name}'; {meant}"))
}

/// The command that is named, or the program itself.
fn named<'a>(command: &'a Command, arguments: &[OsString]) -> &'a Command {
    let name = arguments.get(1).and_then(|name| name.to_str());
    name.and_then(|name| command.find_subcommand(name))
        .unwrap_or(command)
}

/// What to type for a command: `aggregator query`.
fn path(program: &Command, command: &Command) -> String {
    if std::ptr::eq(command, program) {
        program.get_name().to_owned()
    } else {
        format!("{} {}", program.get_name(), command.get_name())
    }
}

fn unknown_argument(argument: &str, program: &Command, arguments: &[OsString]) -> Option<String> {
    let command = named(program, arguments);
    let path = path(program, command);
    if !argument.starts_with('-') {
        let meant = meant::without_a_flag(argument, program, command)?;
        return Some(format!("error: unexpected argument '{argument}'; {meant}"));
    }
    if let Some(meant) = meant::instead_of_a_flag(argument, program, command) {
        return Some(format!("error: unexpected argument '{argument}'; {meant}"));
    }
    let of: Vec<_> = program
        .get_subcommands()
        .filter(|other| !other.is_hide_set() && has_flag(other, argument))
        .map(Command::get_name)
        .collect();
    let first = of.first()?;
    let names = of.join(" or ");
    let example = format!("as in {} {first} {argument}", program.get_name());
    Some(if std::ptr::eq(command, program) {
        format!("error: a command must come before {argument}: {names}, {example}")
    } else {
        format!("error: {argument} is not a flag of {path}, but of {names}, {example}")
    })
}

/// The answer to flags of the program before a command, as in `aggregator --data-dir ./data verify`.
fn flags_before(name: &str, program: &Command, flags: &ContextValue) -> Option<String> {
    let flags = match flags {
        ContextValue::String(flag) => std::slice::from_ref(flag),
        ContextValue::Strings(flags) => flags,
        _ => return None,
    };
    let command = program.find_subcommand(name)?;
    let path = path(program, command);
    let flags = flags.iter().filter_map(|flag| flag.split(' ').next());
    let (known, unknown): (Vec<_>, Vec<_>) = flags.partition(|flag| has_flag(command, flag));
    let line = format!("error: put the flags after the command: {path}");
    Some(match unknown.first() {
        None => format!("{line} {}", known.join(" ")),
        Some(flag) => {
            format!("{line} [FLAGS]; {flag} is not a flag of {path}; for help: {path} --help")
        }
    })
}

fn has_flag(command: &Command, flag: &str) -> bool {
    flag_of(command, flag).is_some()
}

fn flag_of<'a>(command: &'a Command, flag: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| is_flag(arg, flag))
}

fn is_flag(arg: &Arg, flag: &str) -> bool {
    let long = flag.strip_prefix("--");
    let short = flag.strip_prefix('-').filter(|short| short.len() == 1);
    long.is_some_and(|long| arg.get_long() == Some(long))
        || short.is_some_and(|short| arg.get_short() == short.chars().next())
}

/// The variable of a flag, written as in clap's errors: `--url <URL>`.
fn variable(flag: &str, program: &Command, arguments: &[OsString]) -> Option<String> {
    let flag = flag.split_whitespace().next()?;
    let arg = flag_of(named(program, arguments), flag)?;
    arg.get_env().and_then(OsStr::to_str).map(str::to_owned)
}
