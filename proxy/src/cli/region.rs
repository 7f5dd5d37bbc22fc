//! `meridian region`: an operator's orders for regions of a running edge.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::ask::{AdminArgs, encoded};
use super::{Answer, output};
use crate::overrides::{Verb, Wish};

const DRAIN_EXAMPLES: &str = "\
Examples:
  meridian region drain europe-west1 --for 1h --reason \"disks are replaced\"

No request goes there; sessions move. It never lets a request go where the
law does not permit it: what only this region may hold is refused meanwhile.";

const FORCE_EXAMPLES: &str = "\
Examples:
  meridian region force us-east1 --for 10m --reason \"failover drill\"

Requests that are permitted there are served there or not at all; all others
are served as ever.";

const PIN_EXAMPLES: &str = "\
Examples:
  meridian region pin us-central1 --for 2h --reason \"incident 4711\"
  meridian region pin us-central1 --route mcp --for 2h --reason \"warm caches\"

Requests that are permitted there go there while it can serve. Sessions stay
where they are.";

const CLEAR_EXAMPLES: &str = "\
Examples:
  meridian region clear europe-west1 --reason \"disks are in\"";

const LIST_EXAMPLES: &str = "\
Examples:
  meridian region list
  meridian region list --json --admin 127.0.0.1:9090";

#[derive(Debug, Subcommand)]
pub(super) enum RegionVerb {
    /// Let no request go to a region
    #[command(after_help = DRAIN_EXAMPLES)]
    Drain(OrderArgs),
    /// Serve from a region whatever is permitted there
    #[command(after_help = FORCE_EXAMPLES)]
    Force(OrderArgs),
    /// Prefer a region while it can serve
    #[command(after_help = PIN_EXAMPLES)]
    Pin(PinArgs),
    /// End what is ordered of a region
    #[command(after_help = CLEAR_EXAMPLES)]
    Clear(ClearArgs),
    /// Say what is ordered
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
}

#[derive(Args, Debug)]
pub(super) struct OrderArgs {
    /// Id of the region
    region: String,
    /// How long, at most 30d
    #[arg(long = "for", value_name = "SPAN")]
    lasts: String,
    /// Why; it is logged
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    edge: AdminArgs,
}

#[derive(Args, Debug)]
pub(super) struct PinArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// Only requests of this route
    #[arg(long, value_name = "ID")]
    route: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct ClearArgs {
    /// Id of the region
    region: String,
    /// Why; it is logged
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    edge: AdminArgs,
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    edge: AdminArgs,
}

pub(super) fn region(verb: &RegionVerb) -> anyhow::Result<Answer> {
    match verb {
        RegionVerb::Drain(args) => order(args, (Verb::Drain, None)),
        RegionVerb::Force(args) => order(args, (Verb::Force, None)),
        RegionVerb::Pin(args) => order(&args.order, (Verb::Pin, args.route.clone())),
        RegionVerb::Clear(args) => {
            let wish = Wish {
                action: Verb::Clear,
                lasts: None,
                reason: args.reason.clone(),
                route: None,
            };
            send(&args.edge, (&args.region, &wish))
        }
        RegionVerb::List(args) => list(args),
    }
}

fn order(args: &OrderArgs, (action, route): (Verb, Option<String>)) -> anyhow::Result<Answer> {
    let wish = Wish {
        action,
        lasts: Some(args.lasts.clone()),
        reason: args.reason.clone(),
        route,
    };
    send(&args.edge, (&args.region, &wish))
}

fn send(edge: &AdminArgs, (region, wish): (&str, &Wish)) -> anyhow::Result<Answer> {
    let Some(side) = edge.side()? else {
        return Ok(Answer::No);
    };
    let path = format!("/regions/{}/override", encoded(region));
    let told = side.post(&path, &serde_json::to_value(wish)?)?;
    if let Some(refusal) = told.refusal() {
        output::fault(&refusal);
        return Ok(Answer::No);
    }
    output::json(&told.body)?;
    Ok(Answer::Yes)
}

fn list(args: &ListArgs) -> anyhow::Result<Answer> {
    let Some(side) = args.edge.side()? else {
        return Ok(Answer::No);
    };
    let told = side.get("/overrides")?;
    if let Some(refusal) = told.refusal() {
        output::fault(&refusal);
        return Ok(Answer::No);
    }
    if args.json {
        output::json(&told.body)?;
        return Ok(Answer::Yes);
    }
    let orders = told.body.get("overrides").and_then(Value::as_array);
    match orders.map(Vec::as_slice).unwrap_or_default() {
        [] => output::line("nothing is ordered"),
        orders => orders.iter().for_each(line),
    }
    Ok(Answer::Yes)
}

/// One order for a person.
fn line(order: &Value) {
    let at = |path: &str| order.pointer(path).and_then(Value::as_str);
    let region = at("/region").unwrap_or_default();
    let action = at("/order/action").unwrap_or_default();
    let route = at("/order/route").map(|id| format!(" (route {id})"));
    let left = order.pointer("/order/left_s").and_then(Value::as_f64);
    output::line(format_args!(
        "{region:<24} {action}{} for another {:.0} s: {}",
        route.unwrap_or_default(),
        left.unwrap_or_default(),
        at("/order/reason").unwrap_or_default(),
    ));
}
