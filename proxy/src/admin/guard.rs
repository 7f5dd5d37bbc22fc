//! Who may ask.
//!
//! Promises: pure checks on a parsed head. With a token: it is asked for,
//! compared in constant time, and only the two probes answer without it, in
//! one word. Without one (loopback, unix socket): over TCP the `Host` must
//! name this machine, so that a page whose name was pointed at loopback is
//! refused. Always: a request that changes something and carries an `Origin`
//! must come from the admin side's own pages.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use hyper::http::request::Parts;

use super::routes::{Effect, Route};

/// Where the admin side listens.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// On an address; `None`: the machine did not tell which.
    Tcp(Option<SocketAddr>),
    /// On a socket file.
    Unix,
}

/// How far a caller is trusted.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Caller {
    /// The operator.
    Operator,
    /// Somebody without the token: may know that the process lives.
    Probe,
}

/// Why a request is not answered.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Denied {
    /// No token, or a wrong one.
    Token,
    /// The `Host` is missing, doubled or not this machine.
    Host,
    /// The `Origin` is another site's.
    Origin,
}

/// The checks of one listener. Without `Debug`: it holds the token.
pub(super) struct Guard {
    place: Place,
    token: Option<String>,
}

impl Guard {
    pub(super) fn new(place: Place, token: Option<String>) -> Self {
        Self { place, token }
    }

    /// Admits a request or says what is wrong with it.
    pub(super) fn admit(&self, parts: &Parts, route: &Route) -> Result<Caller, Denied> {
        if route.effect() == Effect::Changes {
            own_origin(parts)?;
        }
        match &self.token {
            Some(token) => with_token(token, parts, route),
            None => self.own_host(parts).map(|()| Caller::Operator),
        }
    }

    fn own_host(&self, parts: &Parts) -> Result<(), Denied> {
        let bound = match self.place {
            Place::Unix => return Ok(()),
            Place::Tcp(bound) => bound.map(|bound| bound.ip().to_canonical()),
        };
        let host = only(parts, &HOST)
            .one()
            .and_then(host_of)
            .ok_or(Denied::Host)?;
        let named = match host.parse::<IpAddr>() {
            Ok(address) => {
                let address = address.to_canonical();
                address.is_loopback() || Some(address) == bound
            }
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        };
        if named { Ok(()) } else { Err(Denied::Host) }
    }
}

fn with_token(token: &str, parts: &Parts, route: &Route) -> Result<Caller, Denied> {
    let given = only(parts, &AUTHORIZATION).one().and_then(bearer);
    if given.is_some_and(|given| same(given.as_bytes(), token.as_bytes())) {
        return Ok(Caller::Operator);
    }
    match route {
        Route::Live | Route::Ready => Ok(Caller::Probe),
        Route::Index
        | Route::Metrics
        | Route::Regions
        | Route::Overrides
        | Route::OverrideOf(_)
        | Route::Override(_)
        | Route::Snapshot
        | Route::Decisions
        | Route::Decision(_)
        | Route::Explain
        | Route::ResidencyCheck
        | Route::Reload
        | Route::Drain => Err(Denied::Token),
    }
}

/// No `Origin` (not a browser), or the one of the host that was asked.
fn own_origin(parts: &Parts) -> Result<(), Denied> {
    let origin = match only(parts, &ORIGIN) {
        Value::Absent => return Ok(()),
        Value::Odd => return Err(Denied::Origin),
        Value::One(origin) => origin,
    };
    let site = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    let host = only(parts, &HOST).one();
    match site.zip(host) {
        Some((site, host)) if site.eq_ignore_ascii_case(host) => Ok(()),
        Some(_) | None => Err(Denied::Origin),
    }
}

/// What a field says that may be there once.
enum Value<'a> {
    Absent,
    One(&'a str),
    /// Doubled, or not plain text.
    Odd,
}

impl<'a> Value<'a> {
    fn one(self) -> Option<&'a str> {
        match self {
            Self::One(value) => Some(value),
            Self::Absent | Self::Odd => None,
        }
    }
}

fn only<'a>(parts: &'a Parts, name: &HeaderName) -> Value<'a> {
    let mut all = parts.headers.get_all(name).iter();
    let Some(first) = all.next() else {
        return Value::Absent;
    };
    match (all.next(), first.to_str()) {
        (None, Ok(value)) => Value::One(value),
        (Some(_), _) | (None, Err(_)) => Value::Odd,
    }
}

/// The host without its port; brackets of an IPv6 address are taken off.
fn host_of(value: &str) -> Option<&str> {
    if let Some(rest) = value.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        return port_or_none(port).then_some(host);
    }
    let (host, port) = match value.find(':') {
        Some(colon) => value.split_at_checked(colon)?,
        None => (value, ""),
    };
    (port_or_none(port) && !host.is_empty()).then_some(host)
}

fn port_or_none(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok())
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Compares without telling by its time where the first difference is. The
/// length may show.
fn same(given: &[u8], expected: &[u8]) -> bool {
    let differing = given
        .iter()
        .zip(expected)
        .fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differing) == 0 && given.len() == expected.len() && !expected.is_empty()
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    const LOCAL: Place = Place::Tcp(Some(SocketAddr::new(
        IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        9090,
    )));

    fn parts(fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder();
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn open(place: Place) -> Guard {
        Guard::new(place, None)
    }

    fn admit_host(host: &str) -> Result<Caller, Denied> {
        open(LOCAL).admit(&parts(&[("host", host)]), &Route::Metrics)
    }

    #[test]
    fn names_of_this_machine_are_admitted() {
        for host in [
            "localhost",
            "LOCALHOST:9090",
            "127.0.0.1:9090",
            "127.9.9.9",
            "[::1]:9090",
        ] {
            assert_eq!(admit_host(host), Ok(Caller::Operator), "{host}");
        }
        let elsewhere = Place::Tcp(Some("10.0.0.5:9090".parse().unwrap()));
        let by_address = parts(&[("host", "10.0.0.5:9090")]);
        assert_eq!(
            open(elsewhere).admit(&by_address, &Route::Index),
            Ok(Caller::Operator)
        );
    }

    #[test]
    fn a_name_pointed_at_loopback_is_refused() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            ":9090",
            "::1",
            "localhost:99999",
            "[::1",
            "localhost:80:80",
            "10.0.0.5",
        ] {
            assert_eq!(admit_host(host), Err(Denied::Host), "{host}");
        }
        let none = parts(&[]);
        assert_eq!(open(LOCAL).admit(&none, &Route::Live), Err(Denied::Host));
        let two = parts(&[("host", "localhost"), ("host", "evil.example")]);
        assert_eq!(open(LOCAL).admit(&two, &Route::Live), Err(Denied::Host));
        assert_eq!(
            open(Place::Unix).admit(&none, &Route::Live),
            Ok(Caller::Operator)
        );
    }

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        let own = parts(&[
            ("host", "localhost:9090"),
            ("origin", "http://localhost:9090"),
        ]);
        assert_eq!(open(LOCAL).admit(&own, &Route::Drain), Ok(Caller::Operator));
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost:8080",
            "localhost:9090",
            "",
        ] {
            let other = parts(&[("host", "localhost:9090"), ("origin", origin)]);
            for route in [Route::Drain, Route::Reload, Route::Explain] {
                assert_eq!(
                    open(LOCAL).admit(&other, &route),
                    Err(Denied::Origin),
                    "{origin}"
                );
                assert_eq!(open(Place::Unix).admit(&other, &route), Err(Denied::Origin));
            }
        }
    }

    #[test]
    fn with_a_token_only_probes_answer_without_it() {
        let guard = Guard::new(Place::Tcp(None), Some("correct horse".to_owned()));
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer correct hors",
            "Basic correct horse",
            "Bearer correct horse battery",
        ] {
            let wrong = parts(&[("host", "evil.example"), ("authorization", value)]);
            assert_eq!(
                guard.admit(&wrong, &Route::Metrics),
                Err(Denied::Token),
                "{value}"
            );
            assert_eq!(
                guard.admit(&wrong, &Route::Drain),
                Err(Denied::Token),
                "{value}"
            );
            assert_eq!(
                guard.admit(&wrong, &Route::Ready),
                Ok(Caller::Probe),
                "{value}"
            );
        }
        let right = parts(&[("authorization", "bearer correct horse")]);
        assert_eq!(guard.admit(&right, &Route::Metrics), Ok(Caller::Operator));
        let twice = parts(&[
            ("authorization", "bearer correct horse"),
            ("authorization", "bearer correct horse"),
        ]);
        assert_eq!(guard.admit(&twice, &Route::Metrics), Err(Denied::Token));
    }

    #[test]
    fn an_empty_token_never_matches() {
        assert!(!same(b"", b""));
        assert!(same(b"a", b"a") && !same(b"a", b"ab") && !same(b"ab", b"a"));
    }
}
