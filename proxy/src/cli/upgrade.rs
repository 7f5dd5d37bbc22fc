//! `meridian upgrade`: another binary or another static file, and nobody
//! notices.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;

use super::{Answer, ConfigArg, output};
use crate::server::upgrade;
use crate::settings::Settings;

pub(super) const EXAMPLES: &str = "\
Examples:
  meridian upgrade
  meridian upgrade --config /etc/meridian/meridian.yaml --binary ./meridian-next

The running process starts the new one, which takes the listening sockets over,
compiles its files and serves; only then the old one stops accepting and drains.
If the new one fails or does not serve in time, the old one goes on: exit code 1
and the reason. Needs `upgrade: { socket: PATH }` in the static file.";

#[derive(Args, Debug)]
pub(super) struct UpgradeArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// What to start [default: this binary]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Where the running process listens, if the file has changed that
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

pub(super) fn upgrade(args: &UpgradeArgs) -> anyhow::Result<Answer> {
    let config = &args.config.config;
    let socket = match &args.socket {
        Some(socket) => socket.clone(),
        None => match Settings::load(config) {
            Ok(settings) => match settings.upgrade {
                Some(upgrade) => upgrade.socket,
                None => bail!(
                    "{}: no `upgrade: {{ socket: PATH }}`, so the running process can't be reached",
                    config.display()
                ),
            },
            Err(faults) => {
                output::diagnostics(&faults);
                return Ok(Answer::No);
            }
        },
    };
    // The running process may stand in another folder.
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).with_context(|| format!("{} has no place", path.display()))
    };
    let binary = match &args.binary {
        Some(binary) => absolute(binary)?,
        None => std::env::current_exe().context("this binary has no name; give --binary")?,
    };
    match upgrade::request(&absolute(&socket)?, &binary, &absolute(config)?)? {
        Ok((pid, generation)) => {
            output::line(format_args!(
                "process {pid} serves, generation {generation}; the old one drains"
            ));
            Ok(Answer::Yes)
        }
        Err(reason) => {
            output::fault(&format!(
                "not upgraded, the running process goes on: {reason}"
            ));
            Ok(Answer::No)
        }
    }
}
