//! Who a client's certificate says it is, and patterns for that.
//!
//! Promises: only what a verified certificate holds is looked at. Refuses:
//! patterns that end within a name's authority (`spiffe://example*` would be
//! `spiffe://example.evil` too), and the subject, which is free text.

use data_encoding::HEXLOWER_PERMISSIVE;

use crate::compile::CompileContext;
use crate::yaml::Spanned;

/// The verified certificate of the connection's other end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificate {
    /// URIs among its names, as they are written.
    pub uris: Vec<String>,
    /// Host names among its names, lower case.
    pub hosts: Vec<String>,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
}

/// One entry of `client_certificate`.
#[derive(Debug)]
pub(crate) enum CertificatePattern {
    /// Any certificate that an authority of the listener vouches for.
    Any,
    Fingerprint([u8; 32]),
    Uri(String),
    /// Every URI that begins so.
    UriUnder(String),
    Host(String),
    /// Every host one label below; kept with its dot.
    HostBelow(String),
}

impl CertificatePattern {
    pub(crate) fn compile(raw: &Spanned<String>, ctx: &mut CompileContext<'_>) -> Option<Self> {
        let read = read(&raw.value);
        if read.is_none() {
            ctx.error_help(
                raw.at,
                format!("`{}` is not a pattern for certificates", raw.value),
                "write a URI (`spiffe://example/ns/a`, or `spiffe://example/ns/*`), a host name, \
                 `sha256:` and 64 hexadecimal digits, or `*`",
            );
        }
        read
    }

    pub(crate) fn matches(&self, certificate: &ClientCertificate) -> bool {
        match self {
            Self::Any => true,
            Self::Fingerprint(print) => certificate.fingerprint == *print,
            Self::Uri(uri) => certificate.uris.contains(uri),
            Self::UriUnder(prefix) => certificate.uris.iter().any(|uri| uri.starts_with(prefix)),
            Self::Host(host) => certificate.hosts.contains(host),
            Self::HostBelow(suffix) => certificate.hosts.iter().any(|host| {
                host.strip_suffix(suffix.as_str())
                    .is_some_and(|label| !label.is_empty() && !label.contains('.'))
            }),
        }
    }
}

fn read(text: &str) -> Option<CertificatePattern> {
    if text == "*" {
        return Some(CertificatePattern::Any);
    }
    if let Some(digits) = text.strip_prefix("sha256:") {
        return print(digits).map(CertificatePattern::Fingerprint);
    }
    if let Some((_, rest)) = text.split_once("://") {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = !authority.is_empty() && !authority.contains('*');
        return match path.strip_suffix('*') {
            Some(begin) if plain && !begin.contains('*') => {
                let prefix = text.strip_suffix('*').unwrap_or(text);
                Some(CertificatePattern::UriUnder(prefix.to_owned()))
            }
            None if plain && !path.contains('*') => Some(CertificatePattern::Uri(text.to_owned())),
            Some(_) | None => None,
        };
    }
    let host = text.to_ascii_lowercase();
    let labels = host.strip_prefix("*.").unwrap_or(&host);
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if !labels.split('.').all(label) {
        return None;
    }
    Some(match host.strip_prefix('*') {
        Some(below) => CertificatePattern::HostBelow(below.to_owned()),
        None => CertificatePattern::Host(host),
    })
}

fn print(digits: &str) -> Option<[u8; 32]> {
    let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names_or_what_lies_under_one() {
        let certificate = ClientCertificate {
            uris: vec!["spiffe://example/ns/a/sa/web".to_owned()],
            hosts: vec!["web.example".to_owned()],
            fingerprint: [0xab; 32],
        };
        let print = format!("sha256:{}", "AB".repeat(32));
        for (pattern, expected) in [
            ("*", true),
            (print.as_str(), true),
            ("spiffe://example/ns/a/sa/web", true),
            ("spiffe://example/ns/a/sa/we", false),
            ("spiffe://example/ns/a/*", true),
            ("spiffe://example/ns/b/*", false),
            ("spiffe://example/*", true),
            ("Web.Example", true),
            ("*.example", true),
            ("*.web.example", false),
            ("example", false),
        ] {
            let read = read(pattern).unwrap();
            assert_eq!(read.matches(&certificate), expected, "{pattern}");
        }
        let print = format!("sha256:{}", "0".repeat(64));
        assert!(!read(&print).unwrap().matches(&certificate));
    }

    #[test]
    fn patterns_that_could_mean_more_than_they_say_are_refused() {
        let sign = format!("sha256:{}", "+a".repeat(32));
        for pattern in [
            "",
            "spiffe://example*",
            "spiffe://*/a",
            "spiffe:///a",
            "spiffe://example/*/a",
            "sha256:ab",
            &sign,
            "a b",
            "*.*.example",
            "exa*mple",
        ] {
            assert!(read(pattern).is_none(), "{pattern}");
        }
    }
}
