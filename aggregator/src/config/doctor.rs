//! The flags of `aggregator doctor`.

use std::path::PathBuf;

use clap::Args;
use reqwest::Url;
use shared::{
    api::{Credentials, parse_address},
    connection::Servers,
};

use super::{NatsFlags, settings::jetstream_name, store::DatabaseFlag};
use crate::commands::doctor::Settings;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Address of the running aggregator
    #[arg(
        short,
        long,
        env = "AGGREGATOR_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8080",
        value_name = "URL",
        value_parser = parse_address
    )]
    url: Url,

    #[command(flatten)]
    credentials: Credentials,

    /// Addresses of the NATS servers, as for serve [default: those that the running aggregator uses, or the one on this machine]
    #[arg(
        long,
        env = "AGGREGATOR_NATS_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    nats_url: Vec<String>,

    #[command(flatten)]
    nats: NatsFlags,

    #[command(flatten)]
    database: DatabaseFlag,

    /// Directory of the store [default: that of the running aggregator, or ./data]
    #[arg(long, env = "AGGREGATOR_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Name of the stream [default: that of the running aggregator, or EVENTS]
    #[arg(long, env = "AGGREGATOR_STREAM", value_name = "NAME", value_parser = jetstream_name)]
    stream: Option<String>,

    /// Name of the store's durable consumer [default: that of the running aggregator, or aggregator]
    #[arg(long, env = "AGGREGATOR_DURABLE", value_name = "NAME", value_parser = jetstream_name)]
    durable: Option<String>,

    /// Also write everything that was found to this file as JSON, to attach to an issue; an existing file is replaced
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Doctor {
    /// The settings of the command.
    ///
    /// # Errors
    /// One line that names the invalid setting.
    pub fn settings(self) -> Result<Settings, String> {
        let files = self.nats.files();
        let urls = Some(self.nats_url).filter(|urls| !urls.is_empty());
        // Flags that exclude each other are refused even if the broker is not given.
        Servers::with_files(&["127.0.0.1"], &files)?;
        let servers = urls.map(|urls| Servers::with_files(&urls, &files));
        // Files that cannot be read are a finding, not a reason to examine nothing.
        Ok(Settings {
            target: self.credentials.target(&self.url)?,
            servers: servers.transpose()?,
            files,
            database: self.database.address()?,
            data_dir: self.data_dir,
            stream: self.stream,
            durable: self.durable,
            json: self.json,
        })
    }
}
