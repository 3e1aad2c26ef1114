//! The answers to wrong usage: one line each, which says what to type instead.

use std::ffi::{OsStr, OsString};

use clap::{
    Arg, Command, Error,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    environment::{Renamed, effective},
    one_line,
};

/// The flags that an argument without a flag may have been meant for, the likeliest first.
const LIKELY: [&str; 5] = ["topic", "contains", "data-dir", "listen", "url"];

/// A program of this system and its commands.
pub type Program = (&'static str, &'static [&'static str]);

/// The answer to a command line that clap refuses. `other` is the program that the command may belong to.
#[must_use]
pub fn answer(
    err: &Error,
    command: &Command,
    renamed: &[Renamed],
    arguments: &[OsString],
    other: Program,
) -> String {
    let text = |kind| match err.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    let whole = one_line(&err.to_string()).replace(value, &without_credentials(value));
    match err.kind() {
        ErrorKind::UnknownArgument => text(ContextKind::InvalidArg)
            .and_then(|argument| unknown_argument(argument, command, arguments))
            .unwrap_or(whole),
        ErrorKind::InvalidSubcommand => text(ContextKind::InvalidSubcommand)
            .and_then(|name| unknown_command(name, command, arguments, other))
            .unwrap_or(whole),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let effective = effective(command, renamed, arguments);
            let variable = text(ContextKind::InvalidArg)
                .and_then(|flag| variable(flag, &effective, arguments));
            match variable {
                Some(variable) => format!("{whole}; the value is that of {variable}"),
                None => whole,
            }
        }
        _ => whole,
    }
}

/// A value as it may be repeated: an address without user and password.
fn without_credentials(value: &str) -> String {
    let start = value.find("://").map_or(0, |start| start + 3);
    let host = &value[start..];
    let host = &host[..host.find('/').unwrap_or(host.len())];
    match host.rfind('@') {
        Some(at) => format!("{}…{}", &value[..start], &value[start + at..]),
        None => value.to_owned(),
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
    let path = program.get_name();
    if arguments.get(1).is_some_and(|first| first == "help") {
        // Only without "help" does clap look for a similar command.
        let err = program.clone().try_get_matches_from([path, name]).err()?;
        return Some(one_line(&err.to_string()));
    }
    if !name.contains(['/', ':']) {
        return None;
    }
    let flag = likely(name, program)?;
    Some(format!(
        "error: unexpected argument '{name}'; did you mean {path} --{flag} {name}?"
    ))
}

/// The command that is named, or the program itself.
fn named<'a>(command: &'a Command, arguments: &[OsString]) -> &'a Command {
    let name = arguments.get(1).and_then(|name| name.to_str());
    name.and_then(|name| command.find_subcommand(name))
        .unwrap_or(command)
}

fn unknown_argument(argument: &str, program: &Command, arguments: &[OsString]) -> Option<String> {
    let command = named(program, arguments);
    let path = if std::ptr::eq(command, program) {
        program.get_name().to_owned()
    } else {
        format!("{} {}", program.get_name(), command.get_name())
    };
    if !argument.starts_with('-') {
        let flag = likely(argument, command)?;
        return Some(format!(
            "error: unexpected argument '{argument}'; did you mean --{flag} {argument}? for help: {path} --help"
        ));
    }
    if let Some(meant) = meant(argument, command) {
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

/// The flag that an argument without one is likely to be meant for.
fn likely(argument: &str, command: &Command) -> Option<&'static str> {
    let has = |flag: &&str| has_flag(command, &format!("--{flag}"));
    let is_number = argument.bytes().all(|byte| byte.is_ascii_digit());
    let count = Some("count").filter(|_| is_number);
    let listen = Some("listen").filter(|_| argument.contains(':'));
    let first = count.into_iter().chain(listen);
    first.chain(LIKELY).find(has)
}

/// What a flag that other programs have is called here, for the commands that read.
fn meant(flag: &str, command: &Command) -> Option<&'static str> {
    if !has_flag(command, "--output") {
        return None;
    }
    match flag {
        "-f" | "--follow" if command.get_name() == "tail" => Some("tail follows without a flag"),
        "-f" | "--follow" => Some("to follow new events: aggregator tail"),
        "--json" => Some("for JSON: -o json"),
        "-c" | "--count" => Some("for a number of results: --limit"),
        _ => None,
    }
}

fn has_flag(command: &Command, flag: &str) -> bool {
    command.get_arguments().any(|arg| is_flag(arg, flag))
}

fn is_flag(arg: &Arg, flag: &str) -> bool {
    let long = flag.strip_prefix("--");
    let short = flag.strip_prefix('-').filter(|short| short.len() == 1);
    long.is_some_and(|long| arg.get_long() == Some(long))
        || short.is_some_and(|short| arg.get_short() == short.chars().next())
}

/// The variable that a value is from, if the flag is not on the command line.
fn variable(flag: &str, program: &Command, arguments: &[OsString]) -> Option<String> {
    let flag = flag.split_whitespace().next()?;
    let command = named(program, arguments);
    let arg = command.get_arguments().find(|arg| is_flag(arg, flag))?;
    let is_given = arguments
        .iter()
        .filter_map(|given| given.to_str())
        .any(|given| {
            let short = arg.get_short().map(|short| format!("-{short}"));
            given.split('=').next() == Some(flag)
                || short.is_some_and(|short| given.starts_with(&short))
        });
    let env = arg.get_env().and_then(OsStr::to_str)?;
    (!is_given).then(|| env.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_repeated_without_its_credentials() {
        for (value, expected) in [
            ("https://me:secret@logs/a@b", "https://…@logs/a@b"),
            ("me:sec@ret@logs", "…@logs"),
            ("http://logs:1/a@b", "http://logs:1/a@b"),
            ("yesterday", "yesterday"),
            ("", ""),
        ] {
            assert_eq!(without_credentials(value), expected);
        }
    }
}
