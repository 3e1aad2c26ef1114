//! `GET /diagnostics`: what `aggregator doctor` asks a running service for.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    http::{
        api::Api,
        edge::{
            problem::Problem,
            query::{ParameterRefusals, Query},
        },
    },
    machine::Machine,
    store::SCHEMA_VERSION,
};

/// The program, its settings, its broker, its machine and its last log lines.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Diagnostics {
    /// The version of the program.
    pub version: String,
    /// The schema version of its store.
    pub schema_version: i64,
    /// The id of its store, which the description of its durable contains too.
    pub store_id: String,
    /// The process id.
    pub process_id: u32,
    /// The settings by flag, without credentials.
    pub settings: BTreeMap<String, String>,
    /// The broker that it is connected to; null while there is none.
    #[schema(required)]
    pub nats_server: Option<NatsServer>,
    /// The machine.
    pub machine: Machine,
    /// The last log lines of the level `info` and above, up to 64 KiB, oldest first. They contain no payloads and no
    /// credentials.
    pub log: Vec<String>,
}

/// The server that the service is connected to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NatsServer {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Returns what support needs to know about the service.
#[utoipa::path(
    get,
    path = "/diagnostics",
    tag = "service",
    responses((status = OK, body = Diagnostics), ParameterRefusals)
)]
pub async fn diagnostics(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Diagnostics>, Problem> {
    Query::parse(query.as_deref(), &[])?;
    let connection = &api.broker.connection;
    let nats_server = connection.is_connected().then(|| {
        let server = connection.client().server_info();
        NatsServer {
            name: server.server_name,
            version: server.version,
        }
    });
    Ok(Json(Diagnostics {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema_version: SCHEMA_VERSION,
        store_id: api.writer.store_id().to_owned(),
        process_id: std::process::id(),
        settings: api.process.settings.clone(),
        nats_server,
        machine: Machine::this(),
        log: api.process.recent.lines(),
    }))
}
