//! `meridian`: the command.

use std::process::ExitCode;

/// Gives back what a flood of connections took (docs/adr/0008-allocator.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    meridian::cli::main()
}
