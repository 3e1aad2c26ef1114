//! The binary: [`commands::run`] with an allocator.

use std::process::ExitCode;

use aggregator::commands;

/// Decoding allocates small strings on one thread, and another thread frees them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    commands::run()
}
