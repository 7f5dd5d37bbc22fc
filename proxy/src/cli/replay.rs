//! `meridian replay`: recorded decisions, decided again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use meridian_policies::Snapshot;
use meridian_policies::replay::{Recorded, replay as decide};
use serde::Serialize;

use super::{Answer, ConfigArg, output, records};

pub(super) const EXAMPLES: &str = "\
Examples:
  meridian replay decisions.jsonl
  meridian replay decisions.jsonl --config conf/meridian.yaml --json

Decides every recorded request again with the policies of --config and compares
candidates, scores and region. Records of other policies (their digest differs)
are counted and left out. Exit code 1 when one comes out otherwise, or when
there is none to compare.";

#[derive(Args, Debug)]
pub(super) struct ReplayArgs {
    /// A file of recorded decisions (key `recording.file`)
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    config: ConfigArg,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What came of a file.
#[derive(Debug, Default, Serialize)]
struct Summary {
    /// Came out as they were.
    same: u64,
    /// Came out otherwise.
    different: u64,
    /// The first of these.
    first_difference: Option<String>,
    /// Decided with other policies.
    other_policies: u64,
    /// Not decided again, by reason.
    unchecked: BTreeMap<&'static str, u64>,
}

pub(super) fn replay(args: &ReplayArgs) -> anyhow::Result<Answer> {
    let Some(snapshot) = records::policies(&args.config, None) else {
        return Ok(Answer::No);
    };
    let mut summary = Summary::default();
    records::read(&args.file, |record| summary.add(&snapshot, &record))?;
    if args.json {
        output::json(&summary)?;
    } else {
        summary.tell();
    }
    Ok(if summary.different == 0 && summary.same > 0 {
        Answer::Yes
    } else {
        Answer::No
    })
}

impl Summary {
    fn add(&mut self, snapshot: &Snapshot, record: &Recorded) {
        if record.digest != snapshot.digest() {
            self.other_policies += 1;
            return;
        }
        match decide(snapshot, record) {
            Ok(None) => self.same += 1,
            Ok(Some(difference)) => {
                self.different += 1;
                self.first_difference
                    .get_or_insert_with(|| difference.to_string());
            }
            Err(why) => *self.unchecked.entry(why.as_str()).or_default() += 1,
        }
    }

    fn tell(&self) {
        output::line(format_args!(
            "{} decided again, {} otherwise",
            self.same + self.different,
            self.different
        ));
        if let Some(first) = &self.first_difference {
            output::line(format_args!("first difference: {first}"));
        }
        if self.other_policies > 0 {
            output::line(format_args!(
                "{} left out: decided with other policies than these",
                self.other_policies
            ));
        }
        for (why, count) in &self.unchecked {
            output::line(format_args!("{count} left out: {why}"));
        }
    }
}
