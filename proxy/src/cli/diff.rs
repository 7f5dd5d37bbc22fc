//! `meridian diff`: what other policies would have done.

use std::path::PathBuf;

use clap::Args;
use meridian_policies::replay::{Diff, DiffReport, Exceeded, Thresholds};
use serde_json::json;

use super::{Answer, ConfigArg, output, records};
use crate::settings::percent;

pub(super) const EXAMPLES: &str = "\
Examples:
  meridian diff new-policies/ --receipts decisions.jsonl
  meridian diff new-policies/ --receipts decisions.jsonl --moved 5% --newly-refused 0% --json

Decides recorded requests with the policies of another folder and counts what
would change. Exit code 1 past a threshold.";

#[derive(Args, Debug)]
pub(super) struct DiffArgs {
    /// A folder of policy files
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A file of recorded decisions (key `recording.file`)
    #[arg(long, value_name = "FILE")]
    receipts: PathBuf,
    #[command(flatten)]
    config: ConfigArg,
    /// Most that may move to another region
    #[arg(long, value_name = "SHARE", value_parser = percent)]
    moved: Option<f64>,
    /// Most that may be refused and were not
    #[arg(long, value_name = "SHARE", value_parser = percent)]
    newly_refused: Option<f64>,
    /// Most that may be served and were refused
    #[arg(long, value_name = "SHARE", value_parser = percent)]
    newly_allowed: Option<f64>,
    /// Most that may leave the client's jurisdiction
    #[arg(long, value_name = "SHARE", value_parser = percent)]
    leaves_jurisdiction: Option<f64>,
    /// Most that may trip a rate limit and did not
    #[arg(long, value_name = "SHARE", value_parser = percent)]
    newly_limited: Option<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn diff(args: &DiffArgs) -> anyhow::Result<Answer> {
    let Some(snapshot) = records::policies(&args.config, Some(&args.folder)) else {
        return Ok(Answer::No);
    };
    let mut diff = Diff::new(&snapshot);
    records::read(&args.receipts, |record| diff.add(&record))?;
    let report = diff.report();
    let exceeded = report.exceeded(&Thresholds {
        moved: args.moved,
        newly_refused: args.newly_refused,
        newly_allowed: args.newly_allowed,
        leaves_jurisdiction: args.leaves_jurisdiction,
        newly_limited: args.newly_limited,
    });
    if args.json {
        output::json(&json!({ "report": report, "exceeded": exceeded }))?;
    } else {
        tell(&report, &exceeded);
    }
    Ok(if exceeded.is_empty() {
        Answer::Yes
    } else {
        Answer::No
    })
}

fn tell(report: &DiffReport, exceeded: &[Exceeded]) {
    let row = |what: &str, count: u64| output::line(format_args!("{count:>10}  {what}"));
    row("decided again", report.compared);
    row("as before", report.same);
    row("served by another region", report.moved);
    for (pair, count) in &report.moved_by_pair {
        row(&format!("  {pair}"), *count);
    }
    row("newly refused", report.newly_refused);
    for (reason, count) in &report.newly_refused_by {
        row(&format!("  {reason}"), *count);
    }
    row("newly allowed", report.newly_allowed);
    row("leave their jurisdiction", report.leaves_jurisdiction);
    row("over a limit", report.newly_limited);
    row("answered or refused otherwise", report.otherwise);
    for (why, count) in &report.unchecked {
        row(&format!("left out: {why}"), *count);
    }
    for example in &report.examples {
        output::line(format_args!("for example {example}"));
    }
    for one in exceeded {
        output::line(format_args!(
            "past the threshold: {} ({} of {}, allowed {}%)",
            one.threshold,
            one.count,
            one.of,
            one.allowed * 100.0
        ));
    }
}
