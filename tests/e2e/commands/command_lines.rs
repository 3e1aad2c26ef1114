//! The command lines of both programs: help, completions, colours, exit codes.

use std::process::{Command, Output, Stdio};

use e2e::{System, aggregator::Aggregator, event::event, workspace};

const PROGRAMS: [&str; 2] = ["aggregator", "publisher"];

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(workspace::binary(program));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command.output().expect("it can be started")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("what it prints is text")
}

#[test]
fn help_begins_with_a_description_and_a_first_command() {
    for program in PROGRAMS {
        for flag in ["-h", "--help"] {
            let help = run(program, &[flag]);
            assert_eq!(help.status.code(), Some(0));
            let help = text(&help.stdout);
            let before_usage = help.split("Usage:").next().unwrap_or_default();
            assert!(before_usage.lines().count() <= 12, "{before_usage}");
            let command = format!("\n  {program} ");
            assert!(before_usage.contains(&command), "{help}");
        }
    }
}

#[test]
fn each_command_has_an_example_that_its_own_parser_accepts() {
    for (program, commands) in [
        (
            "aggregator",
            "serve query tail event topics stats healthcheck verify doctor backup store acknowledge-missing completions",
        ),
        ("publisher", "generate send http latency completions"),
    ] {
        for command in commands.split(' ') {
            let help = run(program, &[command, "--help"]);
            let help = text(&help.stdout);
            let start = format!("{program} {command}");
            let examples = help.split("Example").nth(1).unwrap_or_default();
            let example = examples.split(&start).nth(1);
            let example = example.unwrap_or_else(|| panic!("{start} has no example: {help}"));
            let example = example.lines().next().unwrap_or_default();
            let end = example.find(['|', '>', '&']).unwrap_or(example.len());
            let mut arguments: Vec<_> = example[..end].split_whitespace().collect();
            // If the parser accepts the example, help is printed instead of running it.
            arguments.insert(0, command);
            arguments.push("--help");
            assert_eq!(
                run(program, &arguments).status.code(),
                Some(0),
                "{start}{example}"
            );
        }
    }
}

#[test]
fn completions_are_printed_for_each_shell_and_bash_accepts_them() {
    for program in PROGRAMS {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let printed = run(program, &["completions", shell]);
            assert_eq!(printed.status.code(), Some(0), "{program} {shell}");
            let script = text(&printed.stdout);
            assert!(script.contains("nats-url"), "{program} {shell}");
            assert!(script.contains("completions"), "{program} {shell}");
        }
        assert_eq!(run(program, &["completions", "tcl"]).status.code(), Some(2));
        let file = workspace::binary(program);
        let asked = format!(
            ". <({0} completions bash) && COMP_WORDS=({program} comp) COMP_CWORD=1 && _{program} {program} comp && echo \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        let answer = Command::new("bash").args(["-c", &asked]).output();
        let answer = answer.expect("bash can be started");
        assert_eq!(text(&answer.stdout).trim(), "completions", "{answer:?}");
    }
}

/// Runs a command line on a pseudo-terminal; none if the system has no `script` program.
pub fn on_a_terminal(line: &str, environment: &[(&str, &str)]) -> Option<String> {
    let mut command = Command::new("script");
    command
        .args(["--quiet", "--return", "--command", line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    let Ok(output) = command.output() else {
        eprintln!("skipped: script(1) is missing, which provides a terminal");
        return None;
    };
    Some(text(&output.stdout).to_owned())
}

#[test]
fn colours_appear_only_on_terminals_and_only_if_wanted() {
    const ESCAPE: char = '\u{1b}';
    for program in PROGRAMS {
        let file = workspace::binary(program);
        let asked = format!("{} --help", file.display());
        let Some(shown) = on_a_terminal(&asked, &[]) else {
            return;
        };
        assert!(shown.contains(ESCAPE), "{program}: {shown:?}");
        for refusal in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let shown = on_a_terminal(&asked, &[refusal]).expect("it was there before");
            assert!(shown.contains("Usage:"), "{program}: {shown:?}");
            assert!(!shown.contains(ESCAPE), "{program} {refusal:?}: {shown:?}");
        }
        assert!(!text(&run(program, &["--help"]).stdout).contains(ESCAPE));
        // Errors are one plain line everywhere.
        let wrong = format!("{} --no-such-flag", file.display());
        let shown = on_a_terminal(&wrong, &[]).expect("it was there before");
        assert!(
            shown.contains("--no-such-flag") && !shown.contains(ESCAPE),
            "{shown:?}"
        );
    }
}

#[test]
fn the_log_has_colours_only_on_terminals_and_only_if_wanted() {
    // Without a broker it listens all the same; then it is terminated.
    let data = tempfile::tempdir().unwrap();
    let file = workspace::binary("aggregator");
    let line = format!(
        "timeout --signal=TERM 2 {} serve --listen 127.0.0.1:0 --nats-url nats://127.0.0.1:1 --data-dir {}",
        file.display(),
        data.path().display()
    );
    let Some(shown) = on_a_terminal(&line, &[]) else {
        return;
    };
    assert!(
        shown.contains("\u{1b}[") && shown.contains("listening"),
        "{shown:?}"
    );
    let shown = on_a_terminal(&line, &[("NO_COLOR", "1")]).expect("it was there before");
    assert!(
        !shown.contains('\u{1b}') && shown.contains("listening"),
        "{shown:?}"
    );
}

#[tokio::test]
async fn progress_on_a_terminal_has_whole_rates_and_the_time_left() {
    let mut system = System::start().await;
    let line = format!(
        "{} generate --count 3k --rate 1500 --nats-url {}",
        workspace::binary("publisher").display(),
        system.broker.url()
    );
    let Some(shown) = on_a_terminal(&line, &[]) else {
        return;
    };
    assert!(shown.contains(" of 3,000 events, "), "{shown:?}");
    assert!(shown.contains(" left"), "{shown:?}");
    assert!(
        shown.contains("sent 3,000 events (2,100 unique, 900 duplicates)"),
        "{shown:?}"
    );
    let rates: Vec<_> = shown
        .split(" events/s")
        .filter_map(|before| before.split(' ').next_back())
        .collect();
    let (_, rates) = rates.split_last().expect("there is a summary");
    assert!(!rates.iter().any(|rate| rate.contains('.')), "{rates:?}");

    // Even a small store takes long enough to show what is being done.
    system.aggregator.stop().await;
    let line = format!(
        "{} verify --data-dir {}",
        workspace::binary("aggregator").display(),
        system.data_dir().display()
    );
    let shown = on_a_terminal(&line, &[]).expect("it was there before");
    assert!(shown.contains("reading what is recorded"), "{shown:?}");
    assert!(shown.contains("consistent"), "{shown:?}");
}

#[tokio::test]
async fn the_exit_codes_are_those_of_the_help() {
    let mut system = System::start().await;
    let url = system.api().url().to_owned();
    system.api().publish(&[event("orders", "1")]).await;
    system.settled().await;
    // 0: success, healthy, consistent.
    assert_eq!(
        system.aggregator.command(&["healthcheck"]).await.code,
        Some(0)
    );
    assert_eq!(system.aggregator.command(&["verify"]).await.code, Some(0));
    let sent = ["generate", "--count", "10", "--verify", &url];
    system.publish(&sent).await.succeeded();
    // 1: a difference, a failure.
    let fails = system.publish(&["send", "no/such/file"]);
    assert_eq!(fails.await.code, Some(1));
    assert_eq!(
        run("aggregator", &["stats", "--url", "http://127.0.0.1:1"])
            .status
            .code(),
        Some(1)
    );
    // 2: an invalid setting, before anything is done.
    assert_eq!(
        system
            .aggregator
            .command(&["verify", "--stream", "a.b"])
            .await
            .code,
        Some(2)
    );
    for wrong in [&[][..], &["generate", "--rate", "-1"]] {
        assert_eq!(run("publisher", wrong).status.code(), Some(2), "{wrong:?}");
    }
    // 0: stopped by a signal; afterwards nothing responds.
    assert_eq!(system.aggregator.stop().await.code, Some(0));
    assert_eq!(
        system.aggregator.command(&["healthcheck"]).await.code,
        Some(1)
    );
    system.store().change("UPDATE events SET source = 'other'");
    assert_eq!(system.aggregator.command(&["verify"]).await.code, Some(1));
    // 1: another store's durable.
    let another = tempfile::tempdir().unwrap();
    let refused = Aggregator::refused(&system.broker.url(), another.path(), &[]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
}
