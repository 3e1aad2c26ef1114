//! What the programs write to standard output and to standard error.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

/// Prints a line to standard error. A closed standard error is not a failure.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints text to standard output. It is not a failure if the reader has closed the pipe, as `head` does.
///
/// # Errors
/// If the text cannot be written for another reason, such as a full disk.
pub fn print(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

/// As [`print`], in colour if standard output supports it.
///
/// # Errors
/// As [`print`].
pub fn print_coloured(plain: &str, coloured: &str) -> io::Result<()> {
    print(if shows_colours(&io::stdout()) {
        coloured
    } else {
        plain
    })
}

/// Whether a stream supports colours: it is a terminal, `NO_COLOR` (<https://no-color.org>) is unset or empty, and `TERM`
/// is not `dumb`.
#[must_use]
pub fn shows_colours(stream: &impl IsTerminal) -> bool {
    let refuses = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    stream.is_terminal() && !refuses && !is_dumb
}
