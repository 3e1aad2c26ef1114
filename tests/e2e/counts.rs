//! Everything that arrives is counted once, and can be followed.

mod dashboard;
mod duplicates;
mod live;
mod metrics;
mod poison;
mod redelivery;
mod traces;
mod volume;
