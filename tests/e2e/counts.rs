//! Everything that arrives is counted once, and can be followed.

mod duplicates;
mod live;
mod metrics;
mod poison;
mod redelivery;
mod traces;
mod volume;
