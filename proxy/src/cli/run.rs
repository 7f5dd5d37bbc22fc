//! `meridian run`: serve until told to stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::output::{self, Severity};
use super::start::{self, StartError, Started};
use super::{Answer, ConfigArg};
use crate::server::tls::KeyLogFile;
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
    /// Append the secrets of all TLS sessions with clients to FILE, for reading
    /// captures. Nothing else turns this on; a successor does not inherit it
    #[arg(long, value_name = "FILE")]
    tls_key_log: Option<PathBuf>,
}

/// The allocator reads its settings before `main`, so the process begins once
/// more, with the same id, and with the one that makes it give memory back
/// when connections have closed (docs/adr/0008-allocator.md). What is set
/// already stays.
fn give_memory_back() {
    use std::os::unix::process::CommandExt as _;
    const DELAY: &str = "MIMALLOC_PURGE_DELAY";
    if std::env::var_os(DELAY).is_none()
        && let Ok(binary) = std::env::current_exe()
    {
        let mut again = std::process::Command::new(binary);
        again.args(std::env::args_os().skip(1)).env(DELAY, "0");
        // Returns only if it failed: then memory is kept, no more.
        let _ = again.exec();
    }
}

pub(super) fn run(args: &RunArgs) -> anyhow::Result<Answer> {
    give_memory_back();
    let mut predecessor = match &args.take_over {
        Some(socket) => Some(Predecessor::ask(socket)?),
        None => None,
    };
    let prepared = prepare(args, predecessor.as_mut());
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
    args: &RunArgs,
    predecessor: Option<&mut Predecessor>,
) -> Result<(BoundSockets, Started), StartError> {
    let settings = Settings::load(&args.config.config).map_err(StartError::Files)?;
    let key_log = args.tls_key_log.as_deref().map(key_log).transpose()?;
    let sockets = BoundSockets::bind_beside(&settings, predecessor)
        .map_err(|error| StartError::System(error.into()))?;
    Ok((sockets, start::edge(settings, key_log)?))
}

fn key_log(path: &Path) -> Result<Arc<KeyLogFile>, StartError> {
    let opened = KeyLogFile::open(path)
        .with_context(|| format!("cannot open the TLS key log {}", path.display()));
    opened.map(Arc::new).map_err(StartError::System)
}
