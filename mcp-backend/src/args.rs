//! The command line. Promises that what it accepts can be served. Refuses
//! unknown regions, impossible delays and unreadable matrices before anything
//! is bound.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use crate::{
    latency::{DELAY_MAX, LatencyError, LatencyMatrix},
    options::Options,
    region::Region,
    tls::TlsFiles,
};

/// Arguments of `meridian-backend`, also flattened into `meridian backend`.
#[derive(Args, Clone, Debug)]
pub struct BackendArgs {
    /// Name of this region
    #[arg(long, value_name = "NAME")]
    pub region: Region,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Milliseconds between places: a YAML or JSON map {from: {to: ms}}, or a file with one
    #[arg(long, value_name = "FILE|MAP", requires = "from")]
    pub latency_matrix: Option<String>,
    /// The edge's place: answers are delayed by the time from there to --region
    #[arg(long, value_name = "NAME", requires = "latency_matrix")]
    pub from: Option<Region>,
    /// Delay of every answer in milliseconds, on top of the matrix's
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub delay: u64,
    /// Host that /mcp accepts, repeatable (default: any, since the edge in front validates)
    #[arg(long = "allowed-host", value_name = "HOST")]
    pub allowed_hosts: Vec<String>,
    /// Requests at a time; more are answered 503
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub capacity: u32,
    /// Seconds that a stop waits for what is in flight
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub drain: u64,
    /// File that keeps the records (JSON lines)
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// File that gets one JSON line for every request before it is handled, as /v3/log has it
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Open /fault and /v3/log: for tests and drills, never for strangers
    #[arg(long)]
    pub faults: bool,
    /// Serve over TLS: PEM file of the certificate chain, leaf first
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "stdio"
    )]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Demand a certificate of clients: PEM file of the authorities that vouch for them
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub client_ca: Option<PathBuf>,
    /// Speak MCP over stdin and stdout instead of HTTP
    #[arg(long, conflicts_with_all = ["listen", "exit_with_stdin"])]
    pub stdio: bool,
    /// Stop when stdin ends, so that no child outlives its parent; SIGINT is then left to the parent
    #[arg(long)]
    pub exit_with_stdin: bool,
}

/// Why arguments that parse still cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// The matrix names a file that cannot be read.
    #[error("--latency-matrix {path}: {error}")]
    Read {
        /// As given.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The matrix is malformed or does not know the pair.
    #[error(transparent)]
    Latency(#[from] LatencyError),
    /// Matrix and `--delay` together.
    #[error("delay of {0} ms: at most 60000")]
    Delay(u128),
}

impl BackendArgs {
    /// What to serve with. Reads the matrix's file, if one is named.
    pub fn options(&self) -> Result<Options, ArgsError> {
        let mut delay = Duration::from_millis(self.delay);
        if let (Some(matrix), Some(from)) = (&self.latency_matrix, &self.from) {
            delay = delay.saturating_add(read_matrix(matrix)?.between(from, &self.region)?);
        }
        if delay > DELAY_MAX {
            return Err(ArgsError::Delay(delay.as_millis()));
        }
        Ok(Options {
            delay,
            allowed_hosts: self.allowed_hosts.clone(),
            capacity: usize::try_from(self.capacity).unwrap_or(usize::MAX),
            drain: Duration::from_secs(self.drain),
            store: self.store.clone(),
            log: self.log.clone(),
            faults: self.faults,
            tls: self.tls(),
            ..Options::new(self.region.clone())
        })
    }

    fn tls(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            cert: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
            client_ca: self.client_ca.clone(),
        })
    }
}

/// A text with a brace is a map, anything else names a file.
fn read_matrix(text: &str) -> Result<LatencyMatrix, ArgsError> {
    if text.trim_start().starts_with('{') {
        return Ok(LatencyMatrix::parse(text)?);
    }
    let read = |error| ArgsError::Read {
        path: text.to_owned(),
        error,
    };
    Ok(LatencyMatrix::parse(
        &std::fs::read_to_string(text).map_err(read)?,
    )?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: BackendArgs,
    }

    fn options(args: &str) -> Result<Options, String> {
        let words = std::iter::once("x").chain(args.split(' '));
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        cli.args.options().map_err(|error| error.to_string())
    }

    #[test]
    fn the_delay_is_the_matrix_plus_the_flag() {
        let args = "--region a --from b --latency-matrix {b:\u{a0}{a:\u{a0}120}} --delay 3";
        let error = options(args).unwrap_err();
        assert!(error.contains("latency matrix"), "{error}");
        let args = r#"--region a --from b --latency-matrix {"b":{"a":120}} --delay 3"#;
        assert_eq!(options(args).unwrap().delay, Duration::from_millis(123));
    }

    #[test]
    fn the_matrix_may_be_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.yaml");
        std::fs::write(&path, "latency_matrix:\n  a: {b: 7}\n").unwrap();
        let args = format!("--region a --from b --latency-matrix {}", path.display());
        assert_eq!(options(&args).unwrap().delay, Duration::from_millis(7));
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_its_reason() {
        for (args, reason) in [
            ("--region A", "no region name"),
            ("--region a --from b", "--latency-matrix"),
            (
                "--region a --from b --latency-matrix /nowhere/m.yaml",
                "/nowhere/m.yaml",
            ),
            (
                "--region a --from b --latency-matrix {}",
                "nothing between b and a",
            ),
            ("--region a --delay 60001", "at most 60000"),
            ("--region a --delay 18446744073709551615", "at most 60000"),
            ("--region a --capacity 0", "--capacity"),
            ("--region a --listen nonsense", "--listen"),
            ("--region a --tls-cert c.pem", "--tls-key"),
            ("--region a --client-ca ca.pem", "--tls-cert"),
        ] {
            let error = options(args).unwrap_err();
            assert!(error.contains(reason), "{args}: {error}");
        }
    }
}
