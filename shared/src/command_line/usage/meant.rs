//! What an argument was probably meant for.

use clap::{Command, error::ErrorKind};

use super::{flag_of, has_flag, path};
use crate::command_line::split_unit;

/// The flags that a number may have been meant for, the likeliest first.
const NUMBERS: [&str; 3] = ["count", "samples", "listen"];

/// The flags that an address may have been meant for.
const ADDRESSES: [&str; 2] = ["listen", "url"];

/// The flags that any other text may have been meant for.
const TEXTS: [&str; 3] = ["topic", "contains", "data-dir"];

/// The commands to which an address may have been meant to be passed, and what they are for.
const ADDRESSED: [(&str, &str, &str); 3] = [
    ("url", "stats", "to read from a running aggregator"),
    ("url", "http", "to send to a running aggregator"),
    ("nats-url", "generate", "to send through a broker"),
];

/// What to type instead of an argument where a command is expected: a flag of the program or of a command.
pub(super) fn instead_of_a_command(argument: &str, program: &Command) -> Option<String> {
    if argument.contains("://") {
        return address(argument, program, program);
    }
    let name = program.get_name();
    if let Some(flag) = likely(argument, program).filter(|_| !is_word(argument)) {
        return Some(format!("did you mean {name} --{flag} {argument}?"));
    }
    let mut commands = program
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    if is_number(argument) {
        let command = commands.find(|command| has_flag(command, "--count"))?;
        let path = path(program, command);
        return Some(format!("did you mean {path} --count {argument}?"));
    }
    if is_word(argument) && !argument.contains('.') && argument != "-" {
        return None;
    }
    let command = commands.find(|command| takes(command, "files"))?;
    Some(format!(
        "did you mean {} {argument}?",
        path(program, command)
    ))
}

/// What to type instead of an argument that the command does not take: its flag.
pub(super) fn without_a_flag(
    argument: &str,
    program: &Command,
    command: &Command,
) -> Option<String> {
    if argument.contains("://") {
        return address(argument, program, command);
    }
    let flag = likely(argument, command)?;
    let path = path(program, command);
    Some(format!(
        "did you mean --{flag} {argument}? for help: {path} --help"
    ))
}

/// What a flag that other programs have is called here.
pub(super) fn instead_of_a_flag(
    flag: &str,
    program: &Command,
    command: &Command,
) -> Option<String> {
    let has = |flag| has_flag(command, flag);
    let path = path(program, command);
    let reads = has("--output");
    match flag {
        "-f" | "--follow" if reads && command.get_name() == "tail" => {
            Some("tail follows without a flag".to_owned())
        }
        "-f" | "--follow" if reads => Some("to follow new events: aggregator tail".to_owned()),
        "--json" if reads => Some("for JSON: -o json".to_owned()),
        "-c" | "--count" if reads => Some("for a number of results: --limit".to_owned()),
        "-o" | "--output" if has("--json") => {
            let json = flag_of(command, "--json")?;
            let file = if json.get_action().takes_values() {
                " FILE"
            } else {
                ""
            };
            Some(format!("for JSON: {path} --json{file}"))
        }
        "-o" | "--output" if takes(command, "file") => {
            Some(format!("the file needs no flag: {path} FILE"))
        }
        "-u" | "--url" if is_local(command) => Some(listens(&path)),
        _ => None,
    }
}

/// What to type for an address with a scheme, which is an address to connect to, not one to listen on.
fn address(argument: &str, program: &Command, command: &Command) -> Option<String> {
    let flag = match argument.split_once("://")?.0 {
        "nats" | "tls" => "nats-url",
        "http" | "https" => "url",
        _ => return None,
    };
    let prefix = path(program, command);
    if has_flag(command, &format!("--{flag}")) {
        return Some(format!("did you mean {prefix} --{flag} {argument}?"));
    }
    if is_local(command) {
        return Some(listens(&prefix));
    }
    if has_flag(command, "--url") {
        let name = command.get_name();
        return Some(format!(
            "{name} connects to a running aggregator: {prefix} --url http://127.0.0.1:8080"
        ));
    }
    ADDRESSED.iter().find_map(|(of, name, purpose)| {
        let other = program
            .find_subcommand(name)
            .filter(|other| *of == flag && !other.is_hide_set())?;
        let path = path(program, other);
        Some(format!("{purpose}: {path} --{flag} {argument}"))
    })
}

/// Whether the command asks the aggregator on this machine.
fn is_local(command: &Command) -> bool {
    has_flag(command, "--listen") && !has_flag(command, "--nats-url")
}

fn listens(path: &str) -> String {
    format!("give the address that the aggregator listens on: {path} --listen HOST:PORT")
}

/// Whether an argument without a flag has this name.
fn takes(command: &Command, positional: &str) -> bool {
    let mut positionals = command.get_positionals();
    positionals.any(|arg| arg.get_id() == positional)
}

/// The flag that an argument without one is likely to be meant for, and that accepts it.
fn likely(argument: &str, command: &Command) -> Option<&'static str> {
    let numbers = NUMBERS.iter().filter(|_| is_number(argument));
    let addresses = ADDRESSES.iter().filter(|_| has_port(argument));
    // Any text may be an address; only suggest that if nothing else is possible.
    let possible = ADDRESSES.iter().filter(|_| may_be_address(argument));
    let all = numbers.chain(addresses).chain(&TEXTS).chain(possible);
    let mut all = all.copied();
    all.find(|flag| has_flag(command, &format!("--{flag}")) && accepts(command, flag, argument))
}

fn is_number(argument: &str) -> bool {
    let (digits, _) = split_unit(argument);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether it is an address with a port: `:8080`, `localhost:8080`, `127.0.0.1:8080`.
fn has_port(argument: &str) -> bool {
    argument.rsplit_once(':').is_some_and(|(host, port)| {
        let is_host = ["", "localhost"].contains(&host) || host.contains(['.', ':']);
        is_host && port.parse::<u16>().is_ok()
    })
}

fn may_be_address(argument: &str) -> bool {
    argument.contains(['.', ':']) || argument == "localhost" || argument.parse::<u16>().is_ok()
}

/// Whether it may be a misspelt command: neither a path, nor an address, nor a number.
fn is_word(argument: &str) -> bool {
    !argument.contains(['/', ':']) && !is_number(argument)
}

/// Whether the flag's own parser accepts the value.
fn accepts(command: &Command, flag: &str, value: &str) -> bool {
    let line = [command.get_name(), &format!("--{flag}={value}")].map(str::to_owned);
    let refused = command.clone().try_get_matches_from(line).err();
    !refused.is_some_and(|err| {
        matches!(
            err.kind(),
            ErrorKind::ValueValidation | ErrorKind::InvalidValue
        )
    })
}
