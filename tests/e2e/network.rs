//! Proxies between clients and the service, generated clients and slow clients.

mod access_matrix;
mod behind_nginx;
mod clients;
mod proxies;
mod slow_clients;
mod tls;
pub mod tokens;
