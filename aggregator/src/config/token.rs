//! The flags of `aggregator token`.

use std::{num::NonZeroU32, path::PathBuf};

use clap::{Args, Subcommand};
use shared::{command_line::path, event::Instant};

use crate::{
    access::{Patterns, check_name, parse_rate},
    clock,
    commands::token::{Action, Settings},
};

#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    action: Actions,
}

#[derive(Debug, Subcommand)]
enum Actions {
    /// Create a token and print it, once; the file, which is created if it does not exist, holds only its hash
    Create(Create),
    /// List the tokens of the file by name
    List(TokensFlag),
    /// Remove a token from the file; a running service refuses it within seconds
    Revoke {
        /// The name of the token
        name: String,

        #[command(flatten)]
        file: TokensFlag,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The name of the token, 1 to 64 letters, digits and the characters - _ and .; it appears in logs, never the token itself
    #[arg(value_parser = check_name)]
    name: String,

    /// Topics that it may publish: patterns such as `orders.*` and `orders.>`, comma-separated or repeated; `*` for every topic
    #[arg(long, value_name = "PATTERN", value_parser = Patterns::parse)]
    publish: Vec<Patterns>,

    /// Topics that it may read, in the same way
    #[arg(long, value_name = "PATTERN", value_parser = Patterns::parse)]
    read: Vec<Patterns>,

    /// It may operate the service: requeue, acknowledge, and read diagnostics
    #[arg(long)]
    admin: bool,

    /// When it ends: after a time such as 12h or 90d, or at an RFC 3339 time; by default it does not end
    #[arg(long, value_name = "TIME", value_parser = expires)]
    expires: Option<i64>,

    /// How many events it may publish per second, such as 5000/s; by default as many as it can
    #[arg(long, value_name = "N/s", value_parser = parse_rate)]
    rate: Option<NonZeroU32>,

    #[command(flatten)]
    file: TokensFlag,
}

/// The file with the tokens.
#[derive(Debug, Args)]
#[group(skip)]
struct TokensFlag {
    /// File with the tokens, as for serve
    #[arg(
        long,
        env = "AGGREGATOR_TOKENS",
        default_value = "./tokens.toml",
        value_name = "FILE",
        value_parser = path()
    )]
    tokens: PathBuf,
}

impl Token {
    /// The settings of the command.
    pub fn settings(self) -> Settings {
        let (file, action) = match self.action {
            Actions::Create(create) => {
                let Create {
                    name,
                    publish,
                    read,
                    admin,
                    expires,
                    rate,
                    file,
                } = create;
                let [publish, read] =
                    [publish, read].map(|given| given.into_iter().flatten().collect());
                let action = Action::Create {
                    name,
                    publish,
                    read,
                    admin,
                    expires,
                    rate,
                };
                (file, action)
            }
            Actions::List(file) => (file, Action::List),
            Actions::Revoke { name, file } => (file, Action::Revoke { name }),
        };
        Settings {
            file: file.tokens,
            action,
        }
    }
}

/// A time in microseconds since 1970.
fn expires(text: &str) -> Result<i64, String> {
    let after = |now: i64| {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        let number: i64 = number.parse().ok().filter(|number| *number > 0)?;
        let time = number.checked_mul(seconds * 1_000_000)?.checked_add(now)?;
        (time <= clock::LATEST).then_some(time)
    };
    let now = clock::now_micros();
    let time = after(now).or_else(|| Some(Instant::parse(text).ok()?.microseconds()));
    match time {
        Some(time) if time > now => Ok(time),
        Some(_) => Err("must be in the future".to_owned()),
        None => Err("must be a time such as 12h or 90d, or an RFC 3339 time".to_owned()),
    }
}
