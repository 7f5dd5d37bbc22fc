//! Host names to certificates.
//!
//! Promises: an exact name beats a wildcard, a wildcard stands for one label,
//! of two certificates with one name the first is taken. Refuses: anything
//! between (`*.example` is neither `example` nor `a.b.example`).

use std::collections::HashMap;

/// Longest host name (RFC 1035, 2.3.4).
const HOST_MAX: usize = 253;

/// Which certificate stands for a name.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: HashMap<Box<str>, usize>,
    /// By what follows `*.`.
    wild: HashMap<Box<str>, usize>,
}

impl Names {
    /// Certificate number `at` stands for `name`, unless an earlier one does.
    pub(super) fn add(&mut self, name: &str, at: usize) {
        let name = name.to_ascii_lowercase();
        let (map, name) = match name.strip_prefix("*.") {
            Some(rest) => (&mut self.wild, rest),
            None => (&mut self.exact, name.as_str()),
        };
        map.entry(name.into()).or_insert(at);
    }

    /// The certificate for a host, whatever its case.
    pub(super) fn find(&self, host: &str) -> Option<usize> {
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() || host.len() > HOST_MAX {
            return None;
        }
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.find_lower(&host.to_ascii_lowercase());
        }
        self.find_lower(host)
    }

    fn find_lower(&self, host: &str) -> Option<usize> {
        if let Some(at) = self.exact.get(host) {
            return Some(*at);
        }
        let (label, rest) = host.split_once('.')?;
        if label.is_empty() {
            return None;
        }
        self.wild.get(rest).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_beats_a_wildcard_which_stands_for_one_label() {
        let mut names = Names::default();
        names.add("*.Shop.example", 0);
        names.add("www.shop.example", 1);
        names.add("www.shop.example", 2);
        names.add("192.0.2.1", 3);
        for (host, found) in [
            ("a.shop.example", Some(0)),
            ("A.SHOP.example.", Some(0)),
            ("www.shop.example", Some(1)),
            ("192.0.2.1", Some(3)),
            ("shop.example", None),
            ("a.b.shop.example", None),
            (".shop.example", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(names.find(host), found, "{host}");
        }
        assert_eq!(names.find(&"a".repeat(300)), None);
    }
}
