//! An endpoint's address, read once.
//!
//! Promises: what is accepted can be dialled and written in a `Host` field as
//! it is. Refuses user information, paths and queries.

use super::compiled::Scheme;

/// A parsed address.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Address {
    pub(crate) scheme: Scheme,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) authority: String,
}

/// Reads `http://host[:port][/]`, or `https`; the port is 80 or 443 where none
/// is written.
///
/// # Errors
/// What is wrong and what to do about it; neither quotes the address, which
/// may have come out of a reference.
pub(crate) fn parse(url: &str) -> Result<Address, (&'static str, &'static str)> {
    const EXAMPLE: &str = "write it as `http://10.0.1.5:8443` or `https://10.0.1.5:8443`";
    let (scheme, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (Scheme::Http, rest),
        (None, Some(rest)) => (Scheme::Https, rest),
        (None, None) => return Err(("the address has no `http://` or `https://`", EXAMPLE)),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err(("the address carries user information", EXAMPLE));
    }
    if authority.contains(['/', '?', '#']) {
        return Err(("the address has a path or a query", EXAMPLE));
    }
    let (host, port) =
        split(authority).ok_or(("the address has no valid host and port", EXAMPLE))?;
    let port = match port {
        None => scheme.port(),
        Some(digits) => number(digits).ok_or(("the port is not 1 to 65535", EXAMPLE))?,
    };
    let host = host.to_ascii_lowercase();
    let authority = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    Ok(Address {
        scheme,
        host,
        port,
        authority,
    })
}

/// Host without brackets, and the text after its colon.
fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => after.is_empty().then_some((host, None)),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let named = !host.is_empty() && host.len() <= 253 && host.bytes().all(valid);
    named.then_some((host, port))
}

fn number(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain
        .then(|| digits.parse().ok())
        .flatten()
        .filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_port_and_authority_come_out() {
        for (url, host, port, authority) in [
            ("http://10.0.1.5:8443", "10.0.1.5", 8443, "10.0.1.5:8443"),
            (
                "http://Backend.internal/",
                "backend.internal",
                80,
                "backend.internal:80",
            ),
            ("http://[::1]:9000", "::1", 9000, "[::1]:9000"),
            (
                "http://[2001:DB8::1]",
                "2001:db8::1",
                80,
                "[2001:db8::1]:80",
            ),
        ] {
            let found = parse(url).unwrap();
            assert_eq!((found.host.as_str(), found.port), (host, port), "{url}");
            assert_eq!(found.authority, authority, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        for url in [
            "",
            "10.0.1.5:80",
            "https://",
            "https:a:1",
            "http://",
            "http://a:0",
            "http://a:65536",
            "http://a:",
            "http://a:+1",
            "http://u:p@a:1",
            "http://a/x",
            "http://a?x",
            "http://a#x",
            "http://::1:80",
            "http://[::1",
            "http://[::1]x",
            "http://[zz]:1",
            "http://a b:1",
            "ftp://a:1",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn https_is_another_scheme_with_another_port() {
        let found = parse("https://Backend.internal").unwrap();
        assert_eq!((found.scheme, found.port), (Scheme::Https, 443));
        assert_eq!(found.authority, "backend.internal:443");
        assert_eq!(parse("http://a").unwrap().scheme, Scheme::Http);
    }
}
