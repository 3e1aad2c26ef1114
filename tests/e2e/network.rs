//! What is between clients and the service, and what clients do.

mod behind_nginx;
mod clients;
mod proxies;
mod slow_clients;
