//! `meridian run`: serve until told to stop.

use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{self, Severity};
use super::start::{self, StartError, Started};
use super::{Answer, ConfigArg};
use crate::server::upgrade::Predecessor;
use crate::server::{self, BoundSockets};
use crate::settings::Settings;

pub(super) const EXAMPLES: &str = "\
Examples:
  meridian run
  meridian run --config /etc/meridian/meridian.yaml

With `upgrade: { socket: PATH }` in the file, `meridian upgrade` replaces the
process without refusing anybody. Policy files are live within a second of a change; SIGHUP reads them at once.
SIGTERM and Ctrl-C finish what is open and exit 0.";

#[derive(Args, Debug)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Take the sockets over from the process that listens there
    #[arg(long, value_name = "SOCKET")]
    take_over: Option<PathBuf>,
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Answer> {
    let mut predecessor = match &args.take_over {
        Some(socket) => Some(Predecessor::ask(socket)?),
        None => None,
    };
    let prepared = prepare(&args.config.config, predecessor.as_mut());
    let (sockets, Started { edge, watcher }) = match prepared {
        Ok(prepared) => prepared,
        Err(fault) => {
            if let Some(predecessor) = predecessor {
                predecessor.failed(&fault.in_one_line());
            }
            return match fault {
                StartError::Files(faults) => {
                    output::diagnostics(&faults);
                    Ok(Answer::No)
                }
                StartError::System(fault) => Err(fault),
            };
        }
    };
    let addresses = sockets.local_addresses();
    server::run(&edge, sockets.after(predecessor), move || {
        for address in addresses {
            output::notice(Severity::Info, &format!("listening on {address}"));
        }
    })?;
    drop(watcher);
    Ok(Answer::Yes)
}

fn prepare(
    config: &Path,
    predecessor: Option<&mut Predecessor>,
) -> Result<(BoundSockets, Started), StartError> {
    let settings = Settings::load(config).map_err(StartError::Files)?;
    let sockets = BoundSockets::bind_beside(&settings, predecessor)
        .map_err(|error| StartError::System(error.into()))?;
    Ok((sockets, start::edge(settings)?))
}
