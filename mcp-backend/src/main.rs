//! `meridian-backend`: a regional MCP server. See the library's documentation.

use std::process::ExitCode;

use clap::Parser;
use meridian_backend::{BackendArgs, run};

/// A regional MCP server for Meridian: /mcp, /v3/health, /v3/echo and more
#[derive(Parser)]
#[command(name = "meridian-backend", version)]
struct Cli {
    #[command(flatten)]
    args: BackendArgs,
}

fn main() -> ExitCode {
    run(&Cli::parse().args)
}
