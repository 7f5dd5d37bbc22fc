//! `meridian audit`: is the log whole, and what does it say of a period.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use meridian_policies::audit::{
    LINE_BYTES_MAX, Period, Report, Verified, Verifier, parse_moment, rfc3339,
};
use serde_json::{Value, json};

use super::{Answer, output};
use crate::edge::Clock;
use crate::telemetry::audit::files;

const VERIFY_EXAMPLES: &str = "\
Examples:
  meridian audit verify /var/lib/meridian/audit
  meridian audit verify audit-000000000001.jsonl audit-000000004711.jsonl
  meridian audit verify --expect 9f3c… /var/lib/meridian/audit

Files are read in the order given, those of a folder from the oldest. Exit code 1 when a line
was changed, taken out, put in, moved or torn: file, line and what. Lines cut off at the end
leave no trace in the log itself: keep a hash from /readyz elsewhere and --expect it.";

const REPORT_EXAMPLES: &str = "\
Examples:
  meridian audit report --from 2026-10-01 --to 2027-01-01 /var/lib/meridian/audit
  meridian audit report --from 2026-11-22T08:00:00Z --to 2026-11-22T09:00:00Z --json audit/
  meridian audit report --from 2026-10-01 --to 2027-01-01 --html quarter.html audit/

Moments are in UTC; a date is its first moment; --to is not included. Exit code 1 when the
chain is broken, and the report says so.";

/// Faults that are printed; all are counted.
const PRINTED_MAX: u64 = 100;

#[derive(Debug, Subcommand)]
pub(super) enum AuditVerb {
    /// Say whether an audit log is whole
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Say what an audit log tells of a period
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArgs),
}

#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// Files of one log, oldest first, or its folder
    #[arg(required = true, value_name = "FILE_OR_DIR")]
    paths: Vec<PathBuf>,
    /// A hash that must be among the lines, kept from /readyz
    #[arg(long, value_name = "HASH")]
    expect: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct ReportArgs {
    /// Files of one log, oldest first, or its folder
    #[arg(required = true, value_name = "FILE_OR_DIR")]
    paths: Vec<PathBuf>,
    /// First moment
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    from: u64,
    /// First moment after the period
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    to: u64,
    /// Print JSON
    #[arg(long, conflicts_with = "html")]
    json: bool,
    /// Write a page for people
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn moment(text: &str) -> Result<u64, String> {
    parse_moment(text).ok_or_else(|| {
        "expected a date, as in 2026-11-22, or a moment in UTC, as in 2026-11-22T18:30:00Z"
            .to_owned()
    })
}

pub(super) fn audit(verb: &AuditVerb) -> anyhow::Result<Answer> {
    match verb {
        AuditVerb::Verify(args) => verify(args),
        AuditVerb::Report(args) => report(args),
    }
}

/// What is wrong, and where.
struct Broken {
    file: PathBuf,
    line: u64,
    what: String,
}

impl Broken {
    fn text(&self) -> String {
        format!("{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

fn verify(args: &VerifyArgs) -> anyhow::Result<Answer> {
    let mut verifier = Verifier::new();
    let (mut broken, mut count) = (Vec::new(), 0_u64);
    let mut seen = args.expect.is_none();
    let files = walk(&args.paths, &mut verifier, &mut |verifier, line| {
        if let Err(fault) = line {
            count += 1;
            if count <= PRINTED_MAX {
                broken.push(fault);
            }
        }
        let hash = verifier.head().map(|head| head.hash.as_str());
        seen = seen || hash == args.expect.as_deref();
    })?;
    if !seen {
        count += 1;
        broken.push(Broken {
            file: args.paths.last().cloned().unwrap_or_default(),
            line: verifier.lines(),
            what:
                "the hash that is expected is not there: lines were cut off, or this is another log"
                    .to_owned(),
        });
    }
    if args.json {
        output::json(&as_json(&verifier, files, (&broken, count)))?;
    } else {
        print(&verifier, files, (&broken, count));
    }
    Ok(if count == 0 { Answer::Yes } else { Answer::No })
}

fn as_json(verifier: &Verifier, files: usize, (broken, count): (&[Broken], u64)) -> Value {
    json!({
        "intact": count == 0,
        "files": files,
        "lines": verifier.lines(),
        "first_seq": verifier.first(),
        "head_seq": verifier.head().map(|head| head.seq),
        "head_hash": verifier.head().map(|head| head.hash.as_str()),
        "faults": count,
        "listed": broken.iter().map(|one| json!({
            "file": one.file, "line": one.line, "what": one.what,
        })).collect::<Vec<_>>(),
    })
}

fn print(verifier: &Verifier, files: usize, (broken, count): (&[Broken], u64)) {
    for one in broken {
        output::line(one.text());
    }
    if count > PRINTED_MAX {
        output::line(format_args!("and {} more", count - PRINTED_MAX));
    }
    if let Some(first) = verifier.first().filter(|first| *first > 1) {
        output::line(format_args!(
            "begins at line {first} of the chain: older files were not given"
        ));
    }
    let lines = verifier.lines();
    match verifier.head() {
        Some(head) if count == 0 => output::line(format_args!(
            "intact: {lines} lines in {files} files; the last is {} with hash {}",
            head.seq, head.hash
        )),
        None if count == 0 => output::line("intact: no lines"),
        Some(_) | None => output::line(format_args!(
            "broken: {} in {lines} lines of {files} files",
            output::count(usize::try_from(count).unwrap_or(usize::MAX), "fault")
        )),
    }
}

fn report(args: &ReportArgs) -> anyhow::Result<Answer> {
    anyhow::ensure!(args.from < args.to, "--from is not before --to");
    let mut verifier = Verifier::new();
    let mut report = Report::new(Period {
        from_unix_ms: args.from,
        to_unix_ms: args.to,
    });
    let mut answer = Answer::Yes;
    walk(&args.paths, &mut verifier, &mut |_, line| match line {
        Ok(line) => report.add(&line),
        Err(fault) => {
            answer = Answer::No;
            report.fault(fault.text());
        }
    })?;
    let read = (verifier.head(), verifier.lines());
    let now = Clock::unix_ms();
    if let Some(path) = &args.html {
        std::fs::write(path, report.to_html(now, read))
            .with_context(|| format!("cannot write {}", path.display()))?;
    } else {
        let value = report.to_json(now, read);
        if args.json {
            output::json(&value)?;
        } else {
            summary(args, &value);
        }
    }
    Ok(answer)
}

fn summary(args: &ReportArgs, report: &Value) {
    let number = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let yes = report.pointer("/audit_log_stats/chain/intact") == Some(&Value::Bool(true));
    let rows = [
        (
            "period",
            format!("{} to {}", rfc3339(args.from), rfc3339(args.to)),
        ),
        ("chain", if yes { "intact" } else { "BROKEN" }.to_owned()),
        (
            "transfers",
            number("/cross_border_transfers/total_transfers").to_string(),
        ),
        ("refusals", number("/refusals/total").to_string()),
        ("checks", number("/residency_checks/total").to_string()),
        ("violations", number("/violations/total").to_string()),
        ("lost", number("/audit_log_stats/lost_records").to_string()),
    ];
    for (name, value) in rows {
        output::line(format_args!("{name:<11} {value}"));
    }
    let laws = report.pointer("/cross_border_transfers/by_regulation");
    for (law, of) in laws.and_then(Value::as_object).into_iter().flatten() {
        let total = of.get("total").and_then(Value::as_u64).unwrap_or(0);
        output::line(format_args!("  {law}: {total}"));
    }
    let listed = report.pointer("/violations/listed");
    for one in listed.and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
        output::line(format_args!("  {} {}", text("at"), text("what")));
    }
}

/// Every line of every file, in order. Says how many files there were.
fn walk(
    paths: &[PathBuf],
    verifier: &mut Verifier,
    take: &mut impl FnMut(&Verifier, Result<Verified, Broken>),
) -> anyhow::Result<usize> {
    let mut count = 0;
    for path in paths {
        // What is being written at this moment is read when it is whole.
        let lock = File::open(path.join("lock")).ok();
        if let Some(lock) = &lock {
            lock.lock_shared().context("cannot lock the folder")?;
        }
        for file in files(path).with_context(|| format!("cannot read {}", path.display()))? {
            count += 1;
            read(&file, verifier, take)
                .with_context(|| format!("cannot read {}", file.display()))?;
        }
    }
    Ok(count)
}

fn read(
    path: &Path,
    verifier: &mut Verifier,
    take: &mut impl FnMut(&Verifier, Result<Verified, Broken>),
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        let most = LINE_BYTES_MAX as u64 + 1;
        if reader.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        number += 1;
        if line.len() as u64 == most && line.last() != Some(&b'\n') {
            // The rest of it is no line of its own.
            reader.skip_until(b'\n')?;
            line.push(b'\n');
        }
        match verifier.line(&line) {
            Ok(sound) => take(verifier, Ok(sound)),
            Err(faults) => {
                let what: Vec<String> = faults.iter().map(ToString::to_string).collect();
                let broken = Broken {
                    file: path.to_owned(),
                    line: number,
                    what: what.join("; "),
                };
                take(verifier, Err(broken));
            }
        }
    }
}
