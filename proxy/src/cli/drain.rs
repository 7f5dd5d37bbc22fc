//! `meridian drain`: the polite end of a running edge.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::ask::AdminArgs;
use super::{Answer, output};

pub(super) const EXAMPLES: &str = "\
Examples:
  meridian drain
  meridian drain --config /etc/meridian/meridian.yaml --wait

Readiness fails at once; after timeouts.drain_delay the listeners stop; what is
open finishes, for timeouts.drain at most; the process exits 0. SIGTERM does
the same.";

/// Between two looks whether the process is still there.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Args, Debug)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    edge: AdminArgs,
    /// Return when the process has finished
    #[arg(long)]
    wait: bool,
}

pub(super) fn drain(args: &DrainArgs) -> anyhow::Result<Answer> {
    let Some(side) = args.edge.side()? else {
        return Ok(Answer::No);
    };
    let before = side.get("/readyz")?.admitted()?;
    let pid = before.body.get("pid").cloned();
    side.post("/drain", &Value::Null)?.admitted()?;
    output::line("draining");
    if args.wait {
        // Another process may answer there after the end of this one.
        while side
            .get("/readyz")
            .is_ok_and(|now| now.body.get("pid") == pid.as_ref())
        {
            std::thread::sleep(LOOK);
        }
        output::line("finished");
    }
    Ok(Answer::Yes)
}
