//! The command `meridian-load`.

use std::process::ExitCode;

use clap::Parser;
use meridian_load::args::Args;
use meridian_load::plan::Plan;
use meridian_load::report::Report;
use meridian_load::run;

fn main() -> ExitCode {
    let args = Args::parse();
    let json = args.json;
    let report = match args.plan() {
        Ok(plan) => run_blocking(plan),
        Err(error) => {
            eprintln!("meridian-load: {error}");
            return ExitCode::from(2);
        }
    };
    match report {
        Ok(report) => {
            print(&report, json);
            if report.passed() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("meridian-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_blocking(plan: Plan) -> Result<Report, Box<dyn std::error::Error>> {
    let mut builder = match plan.threads.get() {
        1 => tokio::runtime::Builder::new_current_thread(),
        threads => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    let runtime = builder.enable_all().build()?;
    Ok(runtime.block_on(run(plan))?)
}

fn print(report: &Report, json: bool) {
    if json {
        // A report is numbers and strings: it always has a JSON form.
        println!("{}", serde_json::to_string(report).unwrap_or_default());
    } else {
        println!("{report}");
    }
}
