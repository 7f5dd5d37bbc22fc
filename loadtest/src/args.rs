//! The command line, and its translation into a [`Plan`].

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{ArgGroup, Parser, ValueEnum};
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Uri};

use crate::plan::{Lanes, Load, Plan, Protocol, RequestPlan, Target, Thresholds, Trust, Window};

const EXAMPLES: &str = "Examples:
  meridian-load http://127.0.0.1:8080/v3/echo --rate 2000 -c 400 --duration 30s --max-p99 250ms
  meridian-load https://localhost:8443/v3/echo --insecure --protocol h2 --connections 8 --streams 8 --closed
  meridian-load http://127.0.0.1:8080/mcp --rate 200 -X POST -H 'content-type: application/json' --body-file call.json --json";

/// Open-loop load: a fixed rate, latency from the intended start of each
/// request. Exit code 1 when a threshold failed or the target cannot be
/// reached, 2 for wrong usage.
#[derive(Parser, Debug)]
#[command(name = "meridian-load", version, after_help = EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of a command line"
)]
#[command(group(ArgGroup::new("load").required(true).args(["rate", "closed"])))]
pub struct Args {
    /// Where requests go: http://HOST:PORT/PATH or https://...
    pub url: Uri,
    /// Requests a second in all
    #[arg(long)]
    pub rate: Option<NonZeroU32>,
    /// As fast as answers come, instead of a rate
    #[arg(long)]
    pub closed: bool,
    /// Time that is recorded
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Time before it, in which requests are made but not recorded
    #[arg(long, default_value = "1s", value_parser = parse_duration)]
    pub warm_up: Duration,
    /// Stop after this many requests (warm-up included)
    #[arg(long)]
    pub requests: Option<NonZeroU32>,
    /// Connections
    #[arg(long, short, default_value = "64")]
    pub connections: NonZeroUsize,
    /// Requests at once on each connection (h2 and h3 only)
    #[arg(long, short, default_value = "1")]
    pub streams: NonZeroUsize,
    /// HTTP version; h2 without TLS is h2c with prior knowledge, h3 needs https
    #[arg(long, value_enum, default_value = "h1")]
    pub protocol: ProtocolArg,
    /// Method
    #[arg(long, short = 'X', default_value = "GET")]
    pub method: Method,
    /// A field, `name: value`; may be repeated
    #[arg(long = "header", short = 'H', value_parser = parse_header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body of every request
    #[arg(long, conflicts_with = "body_file")]
    pub body: Option<String>,
    /// File with the body of every request
    #[arg(long)]
    pub body_file: Option<PathBuf>,
    /// Longest time from sending to the answer's last byte
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Statuses that are not errors
    #[arg(long, default_value = "200-399", value_parser = parse_statuses)]
    pub ok_status: RangeInclusive<u16>,
    /// Fail (exit 1) when the 50th percentile is above
    #[arg(long, value_parser = parse_duration)]
    pub max_p50: Option<Duration>,
    /// Fail (exit 1) when the 99th percentile is above
    #[arg(long, value_parser = parse_duration)]
    pub max_p99: Option<Duration>,
    /// Fail (exit 1) when the 99.9th percentile is above
    #[arg(long, value_parser = parse_duration)]
    pub max_p999: Option<Duration>,
    /// Fail (exit 1) when errors over requests (0 to 1) are above
    #[arg(long, value_parser = parse_share)]
    pub max_error_rate: Option<f64>,
    /// Believe certificates that lead to one in this PEM file
    #[arg(long, conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// Believe any certificate (self-signed ones of a test)
    #[arg(long)]
    pub insecure: bool,
    /// Allow targets that are not on this machine
    #[arg(long)]
    pub allow_remote: bool,
    /// Threads that send
    #[arg(long, default_value = "1")]
    pub threads: NonZeroUsize,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// HTTP version as spelt on the command line.
#[derive(Copy, Clone, Debug, ValueEnum)]
pub enum ProtocolArg {
    /// HTTP/1.1
    H1,
    /// HTTP/2
    H2,
    /// HTTP/3
    H3,
}

/// Why a command line cannot be run. All are the user's to mend.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not an absolute http or https URL.
    #[error("the URL must begin with http:// or https:// and name a host")]
    Url,
    /// The host has no address.
    #[error("cannot resolve {host}: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        error: std::io::Error,
    },
    /// Not on this machine, and `--allow-remote` was not given.
    #[error("{0} is not a loopback address: add --allow-remote if you may load it")]
    Remote(SocketAddr),
    /// TLS without anything to believe.
    #[error("https needs --ca FILE or --insecure")]
    Trust,
    /// Streams on h1.
    #[error("--streams above 1 needs --protocol h2 or h3")]
    Streams,
    /// HTTP/3 in plain text.
    #[error("--protocol h3 needs an https URL")]
    Plain,
    /// No time to record.
    #[error("--duration must be above zero")]
    Duration,
    /// A `host` field that is not text.
    #[error("the host field is not text")]
    Host,
    /// The body's file.
    #[error("cannot read {}: {error}", path.display())]
    Body {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl Args {
    /// Checks and resolves everything a run needs.
    ///
    /// # Errors
    /// [`PlanError`]: the first thing that does not hold.
    pub fn plan(self) -> Result<Plan, PlanError> {
        let protocol = match self.protocol {
            ProtocolArg::H1 => Protocol::H1,
            ProtocolArg::H2 => Protocol::H2,
            ProtocolArg::H3 => Protocol::H3,
        };
        if protocol == Protocol::H1 && self.streams.get() > 1 {
            return Err(PlanError::Streams);
        }
        if protocol == Protocol::H3 && self.url.scheme_str() == Some("http") {
            return Err(PlanError::Plain);
        }
        if self.duration.is_zero() {
            return Err(PlanError::Duration);
        }
        Ok(Plan {
            target: self.target()?,
            protocol,
            load: self.rate.map_or(Load::Closed, Load::Open),
            window: Window {
                warm_up: self.warm_up,
                duration: self.duration,
                requests: self.requests,
            },
            lanes: Lanes {
                connections: self.connections,
                streams: self.streams,
            },
            request: self.request()?,
            timeout: self.timeout,
            ok: self.ok_status,
            thresholds: Thresholds {
                max_p50: self.max_p50,
                max_p99: self.max_p99,
                max_p999: self.max_p999,
                max_error_rate: self.max_error_rate,
            },
            threads: self.threads,
        })
    }

    fn target(&self) -> Result<Target, PlanError> {
        let host = self.url.host().ok_or(PlanError::Url)?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let (default_port, trust) = match self.url.scheme_str() {
            Some("http") => (80, Trust::Plain),
            Some("https") => (443, self.trust()?),
            Some(_) | None => return Err(PlanError::Url),
        };
        let port = self.url.port_u16().unwrap_or(default_port);
        let addresses = resolve(&host, port)?;
        let remote = addresses.iter().find(|address| !address.ip().is_loopback());
        match remote {
            Some(address) if !self.allow_remote => Err(PlanError::Remote(*address)),
            Some(_) | None => Ok(Target {
                uri: self.url.clone(),
                host,
                addresses,
                trust,
            }),
        }
    }

    fn trust(&self) -> Result<Trust, PlanError> {
        match (&self.ca, self.insecure) {
            (Some(file), _) => Ok(Trust::Authority(file.clone())),
            (None, true) => Ok(Trust::Anyone),
            (None, false) => Err(PlanError::Trust),
        }
    }

    fn request(&self) -> Result<RequestPlan, PlanError> {
        let mut headers = HeaderMap::new();
        let mut authority = self
            .url
            .authority()
            .ok_or(PlanError::Url)?
            .as_str()
            .to_owned();
        for (name, value) in &self.headers {
            if name == HOST {
                value
                    .to_str()
                    .map_err(|_| PlanError::Host)?
                    .clone_into(&mut authority);
            } else {
                headers.append(name.clone(), value.clone());
            }
        }
        Ok(RequestPlan {
            method: self.method.clone(),
            headers,
            authority,
            body: self.read_body()?,
        })
    }

    fn read_body(&self) -> Result<Bytes, PlanError> {
        match (&self.body, &self.body_file) {
            (Some(text), _) => Ok(Bytes::from(text.clone())),
            (None, None) => Ok(Bytes::new()),
            (None, Some(path)) => {
                std::fs::read(path)
                    .map(Bytes::from)
                    .map_err(|error| PlanError::Body {
                        path: path.clone(),
                        error,
                    })
            }
        }
    }
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, PlanError> {
    let failed = |error| PlanError::Resolve {
        host: host.to_owned(),
        error,
    };
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(failed)?.collect();
    if addresses.is_empty() {
        return Err(failed(std::io::ErrorKind::NotFound.into()));
    }
    Ok(addresses)
}

/// `250us`, `5ms`, `1.5s`, `2m`; a number without a unit is refused.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit_at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err("a time is a number with us, ms, s or m, as in 250us or 1.5s".to_owned()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{number:?} is not a number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a field is `name: value`")?;
    let name = HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
    let value = HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

/// `200`, or `200-399`.
fn parse_statuses(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let parse = |text: &str| match text.parse::<u16>() {
        Ok(status @ 100..=999) => Ok(status),
        Ok(_) | Err(_) => Err(format!("{text:?} is not a status")),
    };
    let (low, high) = (parse(low)?, parse(high)?);
    if low > high {
        Err("the range is empty".to_owned())
    } else {
        Ok(low..=high)
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err("a share is between 0 and 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Result<Plan, PlanError> {
        let words = ["meridian-load"].into_iter().chain(line.split_whitespace());
        Args::try_parse_from(words)
            .expect("the line is well formed")
            .plan()
    }

    #[test]
    fn a_rate_or_closed_must_be_chosen_and_not_both() {
        let parse = |line: &str| Args::try_parse_from(line.split_whitespace());
        assert!(parse("meridian-load http://127.0.0.1/").is_err());
        assert!(parse("meridian-load http://127.0.0.1/ --rate 5 --closed").is_err());
        assert!(parse("meridian-load http://127.0.0.1/ --rate 0").is_err());
        let open = plan("http://127.0.0.1/ --rate 5").unwrap();
        assert_eq!(open.load, Load::Open(NonZeroU32::new(5).unwrap()));
        assert_eq!(
            plan("http://127.0.0.1/ --closed").unwrap().load,
            Load::Closed
        );
    }

    #[test]
    fn targets_beyond_this_machine_need_permission() {
        let refused = plan("http://192.0.2.1:81/ --closed").unwrap_err();
        assert!(matches!(refused, PlanError::Remote(address) if address.port() == 81));
        let allowed = plan("http://192.0.2.1/ --closed --allow-remote").unwrap();
        assert_eq!(allowed.target.addresses, ["192.0.2.1:80".parse().unwrap()]);
        assert!(plan("http://[::1]:8080/ --closed").is_ok());
    }

    #[test]
    fn https_needs_somebody_to_believe() {
        assert!(matches!(
            plan("https://127.0.0.1/ --closed"),
            Err(PlanError::Trust)
        ));
        let plan = plan("https://127.0.0.1/ --closed --insecure").unwrap();
        assert_eq!(
            (plan.target.trust, plan.target.addresses[0].port()),
            (Trust::Anyone, 443)
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(matches!(plan("/path --closed"), Err(PlanError::Url)));
        assert!(matches!(
            plan("ftp://127.0.0.1/ --closed"),
            Err(PlanError::Url)
        ));
        let streams = plan("http://127.0.0.1/ --closed --streams 2");
        assert!(matches!(streams, Err(PlanError::Streams)));
        let h3 = plan("http://127.0.0.1/ --closed --protocol h3");
        assert!(matches!(h3, Err(PlanError::Plain)));
        let duration = plan("http://127.0.0.1/ --closed --duration 0s");
        assert!(matches!(duration, Err(PlanError::Duration)));
        let body = plan("http://127.0.0.1/ --closed --body-file /does/not/exist");
        assert!(matches!(body, Err(PlanError::Body { .. })));
    }

    #[test]
    fn a_host_field_replaces_the_urls_authority() {
        let plan =
            plan("http://127.0.0.1:1/ --closed -H Host:a.example -H X-A:1 -H X-A:2").unwrap();
        assert_eq!(plan.request.authority, "a.example");
        assert_eq!(plan.request.headers.get_all("x-a").iter().count(), 2);
        assert!(!plan.request.headers.contains_key(HOST));
    }

    #[test]
    fn times_need_a_unit() {
        for (text, micros) in [
            ("250us", 250),
            ("5ms", 5_000),
            ("1.5s", 1_500_000),
            ("2m", 120_000_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_micros(micros)),
                "{text}"
            );
        }
        for text in ["5", "", "ms", "-1s", "1h", "1e400s", "nans"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn statuses_are_one_or_a_range() {
        assert_eq!(parse_statuses("204"), Ok(204..=204));
        assert_eq!(parse_statuses("200-499"), Ok(200..=499));
        for text in ["", "20", "399-200", "200-", "x"] {
            assert!(parse_statuses(text).is_err(), "{text}");
        }
    }
}
