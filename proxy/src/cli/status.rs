//! `meridian status`: how a running edge is.

use clap::Args;
use serde_json::{Value, json};

use super::ask::AdminArgs;
use super::{Answer, output, reload};

pub(super) const EXAMPLES: &str = "\
Examples:
  meridian status
  meridian status --config /etc/meridian/meridian.yaml --json

Exit code 1 when it is not ready for requests.";

#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    edge: AdminArgs,
    /// Print `{ready, regions}` as the admin side tells them
    #[arg(long)]
    json: bool,
}

pub(super) fn status(args: &StatusArgs) -> anyhow::Result<Answer> {
    let Some(side) = args.edge.side()? else {
        return Ok(Answer::No);
    };
    let ready = side.get("/readyz")?.admitted()?;
    let regions = side.get("/regions")?.admitted()?.body;
    if args.json {
        output::json(&json!({ "ready": ready.body, "regions": regions }))?;
    } else {
        tell(&ready.body, &regions);
    }
    Ok(if ready.status == 200 {
        Answer::Yes
    } else {
        Answer::No
    })
}

fn tell(ready: &Value, regions: &Value) {
    let of = |key: &str| plain(ready.get(key));
    output::line(format_args!(
        "{}: generation {} since {}, {} connections, version {}, process {}, in {}",
        of("phase"),
        of("generation"),
        of("loaded_at"),
        of("connections"),
        of("version"),
        of("pid"),
        of("region"),
    ));
    if let Some(path) = ready.get("tls_key_log").and_then(Value::as_str) {
        output::line(format_args!("  TLS KEY LOG: session secrets go to {path}"));
    }
    for region in list(regions, "regions") {
        let endpoints = list(region, "endpoints");
        let usable = endpoints
            .iter()
            .filter(|endpoint| endpoint.get("usable") == Some(&Value::Bool(true)))
            .count();
        output::line(format_args!(
            "  {:<24} {:<10} {usable} of {} endpoints usable",
            plain(region.get("region")),
            plain(region.get("state")),
            endpoints.len(),
        ));
    }
    reload::rejected(ready);
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// A value without the quotes of JSON.
fn plain(value: Option<&Value>) -> String {
    match value {
        None => "?".to_owned(),
        Some(value) => value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
    }
}
