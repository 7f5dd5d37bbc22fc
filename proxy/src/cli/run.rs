//! `meridian run`: serve until told to stop.

use clap::Args;

use super::output::{self, Severity};
use super::start::{self, Started};
use super::{Answer, ConfigArg};
use crate::server::{self, BoundSockets};
use crate::settings::Settings;

pub(super) const EXAMPLES: &str = "\
Examples:
  meridian run
  meridian run --config /etc/meridian/meridian.yaml

Policy files are live within a second of a change; SIGHUP reads them at once.
SIGTERM and Ctrl-C finish what is open and exit 0.";

#[derive(Args, Debug)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Answer> {
    let settings = match Settings::load(&args.config.config) {
        Ok(settings) => settings,
        Err(faults) => {
            output::diagnostics(&faults);
            return Ok(Answer::No);
        }
    };
    let sockets = BoundSockets::bind(&settings)?;
    let Started { edge, watcher } = match start::edge(settings) {
        Ok(started) => started,
        Err(start::StartError::Files(faults)) => {
            output::diagnostics(&faults);
            return Ok(Answer::No);
        }
        Err(start::StartError::System(fault)) => return Err(fault),
    };
    let addresses = sockets.local_addresses();
    server::run(&edge, sockets, move || {
        for address in addresses {
            output::notice(Severity::Info, &format!("listening on {address}"));
        }
    })?;
    drop(watcher);
    Ok(Answer::Yes)
}
