//! `meridian reload`: what lies in the policy folder becomes live, or is told
//! why not.

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use super::ask::{AdminArgs, Side};
use super::{Answer, output};

pub(super) const EXAMPLES: &str = "\
Examples:
  meridian reload
  meridian reload --config /etc/meridian/meridian.yaml --json

The folder is watched anyway; this waits for the answer. Exit code 1 when the
files have a fault: nothing has changed then.";

#[derive(Args, Debug)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    edge: AdminArgs,
    /// Print the answer of the edge
    #[arg(long)]
    json: bool,
}

pub(super) fn reload(args: &ReloadArgs) -> anyhow::Result<Answer> {
    let Some(side) = args.edge.side()? else {
        return Ok(Answer::No);
    };
    let reply = side.post("/reload", &Value::Null)?.admitted()?;
    let result = reply.body.get("result").and_then(Value::as_str);
    let live = matches!(result, Some("live" | "mended" | "unchanged"));
    if args.json {
        output::json(&reply.body)?;
    } else {
        tell(result, &reply.body, &side)?;
    }
    Ok(if live { Answer::Yes } else { Answer::No })
}

fn tell(result: Option<&str>, body: &Value, side: &Side) -> anyhow::Result<()> {
    match result {
        Some("rejected") => {
            faults(body.get("diagnostics"));
            output::fault("rejected, nothing has changed");
        }
        Some("live") => {
            faults(body.get("kept"));
            let generation = body.get("generation").unwrap_or(&Value::Null);
            output::line(format_args!("generation {generation} is live"));
        }
        Some("mended" | "unchanged") => {
            let now = side.get("/readyz")?.admitted()?.body;
            let generation = now.get("generation").unwrap_or(&Value::Null);
            output::line(format_args!(
                "generation {generation} stays: nothing is new"
            ));
            rejected(&now);
        }
        Some(_) | None => bail!("an answer that this version does not know: {body}"),
    }
    Ok(())
}

/// Says that what lies on disk is not what is live, if so.
pub(super) fn rejected(ready: &Value) {
    let standing = ready
        .get("rejected_reload")
        .and_then(|r| r.get("diagnostics"));
    if standing.is_some() {
        faults(standing);
        output::fault("the files on disk were rejected; what was live still is");
    }
}

/// One line and frame a diagnostic, as `check` shows them.
fn faults(list: Option<&Value>) {
    for fault in list.and_then(Value::as_array).into_iter().flatten() {
        let text = |key| fault.get(key).and_then(Value::as_str).unwrap_or_default();
        let number = |key| fault.get(key).and_then(Value::as_u64).unwrap_or_default();
        let place = match number("line") {
            0 => text("path").to_owned(),
            line => format!("{}:{line}:{}", text("path"), number("column")),
        };
        let mut told = format!("{place}: {}", text("message"));
        for more in [text("frame"), text("help")] {
            if !more.is_empty() {
                told.push('\n');
                told.push_str(more);
            }
        }
        output::fault(&told);
    }
}
