//! The command line: one file a verb.
//!
//! Promises: every verb explains itself with examples; exit codes 0 (fine),
//! 1 (the answer is no: an invalid file, a refused request) and 2 (wrong
//! usage); data goes to standard output, everything else to standard error.
//! Refuses: to list a verb before it works.

mod ask;
mod audit;
mod check;
#[cfg(feature = "demo")]
mod demo;
mod diff;
mod drain;
mod explain;
mod geo;
mod output;
mod papers;
mod records;
mod region;
mod reload;
mod replay;
mod run;
mod start;
mod status;
mod upgrade;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// A global edge proxy with policy-aware routing.
#[derive(Debug, Parser)]
#[command(name = "meridian", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
Examples:
  meridian demo
  meridian check --config conf/meridian.yaml
  meridian explain --config conf/meridian.yaml --ip 91.64.0.1 --path /mcp --class tier_1_pii
  meridian run --config conf/meridian.yaml

Exit codes: 0 fine, 1 the answer is no (invalid file, refused request), 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve
    #[command(after_help = run::EXAMPLES)]
    Run(run::RunArgs),
    /// Say whether the static file and its policies are good
    #[command(after_help = check::EXAMPLES)]
    Check(check::CheckArgs),
    /// Say what an idle, healthy edge would decide for a request, and why
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::ExplainArgs),
    /// Decide recorded requests again and compare
    #[command(after_help = replay::EXAMPLES)]
    Replay(replay::ReplayArgs),
    /// Say what other policies would have done with recorded requests
    #[command(after_help = diff::EXAMPLES)]
    Diff(diff::DiffArgs),
    /// Say how a running edge is
    #[command(after_help = status::EXAMPLES)]
    Status(status::StatusArgs),
    /// Have a running edge read its policy files now
    #[command(after_help = reload::EXAMPLES)]
    Reload(reload::ReloadArgs),
    /// Have a running edge finish what is open and end
    #[command(after_help = drain::EXAMPLES)]
    Drain(drain::DrainArgs),
    /// Replace a running edge by a new process, without refusing anybody
    #[command(after_help = upgrade::EXAMPLES)]
    Upgrade(upgrade::UpgradeArgs),
    /// Verify and report on audit logs
    #[command(subcommand)]
    Audit(audit::AuditVerb),
    /// Ask the geo data
    #[command(subcommand)]
    Geo(geo::GeoVerb),
    /// Order something of a region of a running edge, for a while
    #[command(subcommand)]
    Region(region::RegionVerb),
    /// Run an edge with three regional backends on this machine
    #[cfg(feature = "demo")]
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::DemoArgs),
    /// One regional backend of the demo
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    Backend(meridian_backend::BackendArgs),
    /// Print completions for a shell
    #[command(after_help = papers::COMPLETIONS_EXAMPLES)]
    Completions(papers::CompletionsArgs),
    /// Print the manual page
    #[command(after_help = papers::MAN_EXAMPLES)]
    Man(papers::ManArgs),
}

/// Which static file.
#[derive(Args, Clone, Debug)]
struct ConfigArg {
    /// The static file; its policies lie beside it
    #[arg(
        long,
        value_name = "FILE",
        default_value = "conf/meridian.yaml",
        env = "MERIDIAN_CONFIG"
    )]
    config: PathBuf,
}

/// How a verb ended, when nothing went wrong.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Answer {
    /// Exit code 0.
    Yes,
    /// Exit code 1; the reason has been printed.
    No,
}

/// Reads the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let answer = match cli.verb {
        Verb::Run(args) => run::run(&args),
        Verb::Check(args) => check::check(&args),
        Verb::Explain(args) => explain::explain(&args),
        Verb::Replay(args) => replay::replay(&args),
        Verb::Diff(args) => diff::diff(&args),
        Verb::Status(args) => status::status(&args),
        Verb::Reload(args) => reload::reload(&args),
        Verb::Drain(args) => drain::drain(&args),
        Verb::Upgrade(args) => upgrade::upgrade(&args),
        Verb::Audit(verb) => audit::audit(&verb),
        Verb::Geo(verb) => geo::geo(&verb),
        Verb::Region(verb) => region::region(&verb),
        #[cfg(feature = "demo")]
        Verb::Demo(args) => demo::demo(&args),
        #[cfg(feature = "demo")]
        Verb::Backend(args) => return meridian_backend::run(&args),
        Verb::Completions(args) => Ok(papers::completions(&args)),
        Verb::Man(args) => papers::man(&args),
    };
    match answer {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::FAILURE,
        Err(fault) => {
            output::fault(&format!("{fault:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_listed_verb_explains_itself_with_examples() {
        let lines = [
            "run",
            "check",
            "explain",
            "replay",
            "diff",
            "status",
            "reload",
            "drain",
            "upgrade",
            "audit verify",
            "audit report",
            "geo lookup",
            "region drain",
            "region force",
            "region pin",
            "region clear",
            "region list",
            "completions",
            "man",
        ];
        for line in lines {
            let words = ["meridian"]
                .into_iter()
                .chain(line.split(' '))
                .chain(["--help"]);
            let help = Cli::try_parse_from(words).unwrap_err();
            assert_eq!(help.exit_code(), 0, "{line}");
            let example = format!("Examples:\n  meridian {line}");
            assert!(help.to_string().contains(&example), "{line}: {help}");
        }
        let listed = Cli::command()
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .count();
        // The demo has no line above: its help says the same for all ports.
        let explained: BTreeSet<_> = lines
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(
            listed,
            explained.len() + usize::from(cfg!(feature = "demo"))
        );
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        for line in [
            "meridian",
            "meridian flow",
            "meridian explain --path /",
            "meridian check --config",
        ] {
            let fault = Cli::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(fault.exit_code(), 2, "{line}");
        }
    }
}
