//! The tables of settings against `--help`: every flag, its environment variable and its default.

use std::{collections::BTreeSet, process::Command};

use e2e::workspace;

use super::{blocks::rows, document};

/// The command of a flag, its name, its variable and its default; the last two may be empty.
type Setting = (String, String, String, String);

/// The help of a program, without the settings of this process's environment.
fn help(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(workspace::binary(program))
        .args(arguments)
        .env_clear()
        .output()
        .expect("it can be started");
    assert!(output.status.success(), "{program} {arguments:?}");
    String::from_utf8(output.stdout).expect("help is text")
}

/// The text between two marks, up to an equals sign.
fn between(text: &str, start: &str) -> String {
    let found = text
        .split_once(start)
        .and_then(|(_, rest)| rest.split_once(']'));
    let found = found.map_or("", |(value, _)| value);
    found.trim_end_matches('=').to_owned()
}

/// The flags of a command, except for those of every command.
fn flags(program: &str, command: &str) -> BTreeSet<Setting> {
    let help = help(program, &[command, "-h"]);
    let (_, options) = help.split_once("\nOptions:\n").expect("it has options");
    let options = options.split("\nExample").next().unwrap_or_default();
    let mut entries: Vec<String> = Vec::new();
    // Headings of groups are not indented.
    for line in options.lines().filter(|line| line.starts_with(' ')) {
        if line.trim_start().starts_with('-') {
            entries.push(String::new());
        }
        entries
            .last_mut()
            .expect("a flag comes first")
            .push_str(line);
    }
    let flags = entries.iter().filter_map(|entry| {
        let (_, long) = entry.split_once("--")?;
        let name = long.split_whitespace().next()?;
        let setting = (between(entry, "[env: "), between(entry, "[default: "));
        (name != "help").then(|| {
            (
                command.to_owned(),
                format!("--{name}"),
                setting.0,
                setting.1,
            )
        })
    });
    flags.collect()
}

/// The commands of a program.
fn commands(program: &str) -> BTreeSet<String> {
    let help = help(program, &["--help"]);
    let (_, list) = help.split_once("\nCommands:\n").expect("it has commands");
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// The code in a cell, each without the name of its value.
fn codes(cell: &str) -> Vec<String> {
    let codes = cell.split('`').skip(1).step_by(2);
    codes
        .filter_map(|code| code.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// A cell that is code, or empty.
fn code(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

/// The rows of the table below a heading of a document whose head begins with these cells.
fn table(name: &str, heading: &str, head: &[&str]) -> Vec<Vec<String>> {
    let rows = rows(&document(name), heading);
    let is_head = |row: &Vec<String>| row.iter().zip(head).all(|(cell, head)| cell == head);
    let at = rows.iter().position(is_head);
    let at = at.unwrap_or_else(|| panic!("{name} has no table {head:?}"));
    // Below the head is a line of dashes; the next such line is below the next table's head.
    let is_rule = |row: &Vec<String>| row.iter().all(|cell| cell.starts_with('-'));
    let mut below = rows[at + 2..].to_vec();
    if let Some(next) = below.iter().position(is_rule) {
        below.truncate(next - 1);
    }
    below
}

#[test]
fn the_settings_of_the_aggregator_are_those_of_its_help() {
    let head = ["aggregator", "environment", "default"];
    let rows = table("aggregator/README.md", "## Settings", &head);
    let documented: BTreeSet<Setting> = rows
        .iter()
        .map(|row| {
            (
                "serve".to_owned(),
                code(&row[0]),
                code(&row[1]),
                code(&row[2]),
            )
        })
        .collect();
    assert_eq!(documented, flags("aggregator", "serve"));
}

#[test]
fn the_settings_of_the_publisher_are_those_of_its_help() {
    let all = commands("publisher");
    let mut documented = BTreeSet::new();
    let head = ["flag", "of", "environment", "default"];
    for row in table("publisher/README.md", "## Flags", &head) {
        let of = if row[1] == "all" {
            // Completions are printed, and nothing is logged meanwhile.
            all.iter()
                .filter(|name| *name != "completions")
                .cloned()
                .collect()
        } else {
            codes(&row[1])
        };
        for command in of {
            for flag in codes(&row[0]) {
                documented.insert((command.clone(), flag, code(&row[2]), code(&row[3])));
            }
        }
    }
    let flags: BTreeSet<Setting> = all
        .iter()
        .flat_map(|name| flags("publisher", name))
        .collect();
    assert_eq!(documented, flags);
}

#[test]
fn the_flags_of_the_commands_that_read_are_those_of_their_help() {
    let reading = ["query", "tail", "event", "topics", "stats"];
    let mut documented = BTreeSet::new();
    let head = ["flag", "of", "environment", "default"];
    for row in table("aggregator/COMMANDS.md", "## Read", &head) {
        let of = if row[1] == "all" {
            reading.map(str::to_owned).to_vec()
        } else {
            codes(&row[1])
        };
        for command in of {
            for flag in codes(&row[0]) {
                if flag.starts_with("--") {
                    documented.insert((command.clone(), flag, code(&row[2]), code(&row[3])));
                }
            }
        }
    }
    let flags = reading.map(|command| flags("aggregator", command));
    let flags: BTreeSet<Setting> = flags.into_iter().flatten().collect();
    assert_eq!(documented, flags);
}

#[test]
fn the_commands_of_both_programs_are_those_of_their_help() {
    for (program, head) in [("aggregator", "command"), ("publisher", "publisher")] {
        let rows = table(&format!("{program}/README.md"), "## Commands", &[head, ""]);
        let named: BTreeSet<String> = rows
            .iter()
            .flat_map(|row| codes(&row[0]).into_iter().take(1))
            .collect();
        assert_eq!(named, commands(program), "{program}");
    }
}

#[test]
fn the_exit_codes_in_the_documents_are_those_of_the_help() {
    for program in ["aggregator", "publisher"] {
        let rows = table(
            &format!("{program}/README.md"),
            "## Commands",
            &["exit code", ""],
        );
        let documented: Vec<u8> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
        let help = help(program, &["--help"]);
        let (_, named) = help
            .split_once("Exit codes: ")
            .expect("the help has exit codes");
        let named: Vec<u8> = named
            .split([',', ';'])
            .filter_map(|code| code.split_whitespace().next()?.parse().ok())
            .collect();
        assert_eq!(documented, named, "{program}");
    }
}
