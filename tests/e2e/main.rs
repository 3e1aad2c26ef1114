//! Both services against a real broker: contracts, faults, the compose file.

mod backup;
mod brokers;
mod clock;
mod compose;
mod data_files;
mod duplicates;
mod fidelity;
mod http_errors;
mod kept;
mod lifecycle;
mod limits;
mod otlp;
mod outage;
mod ownership;
mod persistence;
mod poison;
mod reconciliation;
mod redelivery;
mod senders;
mod slow_clients;
mod topics;
mod trimming;
mod verify;
mod volume;
mod write_faults;
