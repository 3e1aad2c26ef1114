//! `aggregator token`: creates, lists and revokes tokens in the tokens file, which a running service rereads.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use comfy_table::{Table, presets};
use shared::command_line::say;

use crate::{
    access::{self, New, Patterns, Tokens},
    clock,
};

/// The settings of the command.
#[derive(Debug)]
pub struct Settings {
    /// The tokens file.
    pub file: PathBuf,
    /// What is done.
    pub action: Action,
}

/// What is done.
#[derive(Debug)]
pub enum Action {
    /// Creates a token.
    Create {
        /// Its name.
        name: String,
        /// The topics that it may publish.
        publish: Patterns,
        /// The topics that it may read.
        read: Patterns,
        /// Whether it may operate the service.
        admin: bool,
        /// When it ends, in microseconds since 1970.
        expires: Option<i64>,
        /// Events in each second.
        rate: Option<NonZeroU32>,
    },
    /// Lists the tokens.
    List,
    /// Revokes a token.
    Revoke {
        /// Its name.
        name: String,
    },
}

/// Runs the command; returns the text for standard output.
///
/// # Errors
/// If the file cannot be used, or has no such token, or already has it.
pub fn run(settings: &Settings) -> anyhow::Result<String> {
    let file = &settings.file;
    match &settings.action {
        Action::Create {
            name,
            publish,
            read,
            admin,
            expires,
            rate,
        } => {
            let new = New {
                name,
                publish,
                read,
                admin: *admin,
                expires: *expires,
                rate: *rate,
            };
            let secret = access::add(file, &new)?;
            if publish.is_empty() && read.is_empty() && !admin {
                say("warning: without --publish, --read and --admin the token allows nothing");
            }
            say(format_args!(
                "This token is shown only now; {} holds its hash. A service that runs with this file accepts it within seconds.",
                file.display()
            ));
            Ok(format!("{}\n", secret.reveal()))
        }
        Action::List => list(file),
        Action::Revoke { name } => {
            access::remove(file, name)?;
            say(format_args!(
                "revoked {name}; a running service refuses it within seconds"
            ));
            Ok(String::new())
        }
    }
}

fn list(file: &Path) -> anyhow::Result<String> {
    let tokens = Tokens::read(file)?;
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["name", "publish", "read", "admin", "expires", "rate"]);
    let now = clock::now_micros();
    for grant in tokens.entries() {
        let expires = grant.expires.map_or_else(String::new, |time| {
            let ended = if grant.is_expired(now) {
                " (expired)"
            } else {
                ""
            };
            format!("{}{ended}", clock::rfc3339(time))
        });
        let rate = grant.rate.as_ref();
        table.add_row([
            grant.name.as_deref().unwrap_or_default().to_owned(),
            grant.publish.to_string(),
            grant.read.to_string(),
            if grant.admin { "yes" } else { "" }.to_owned(),
            expires,
            rate.map_or_else(String::new, |rate| format!("{}/s", rate.per_second())),
        ]);
    }
    Ok(format!("{table}\n"))
}
