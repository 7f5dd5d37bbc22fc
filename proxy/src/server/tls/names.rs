//! Host names to certificates.
//!
//! Promises: an exact name beats a wildcard, a wildcard stands for one label,
//! certificates with one name stand for it in their order. Refuses: anything
//! between (`*.example` is neither `example` nor `a.b.example`).

use std::collections::HashMap;

/// Longest host name (RFC 1035, 2.3.4).
const HOST_MAX: usize = 253;

/// Which certificates stand for a name.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: Map,
    /// By what follows `*.`.
    wild: Map,
}

/// No list is empty.
type Map = HashMap<Box<str>, Vec<usize>>;

impl Names {
    /// Certificate number `at` stands for `name`, after those that do already.
    pub(super) fn add(&mut self, name: &str, at: usize) {
        let name = name.to_ascii_lowercase();
        let (map, name) = match name.strip_prefix("*.") {
            Some(rest) => (&mut self.wild, rest),
            None => (&mut self.exact, name.as_str()),
        };
        let all = map.entry(name.into()).or_default();
        if !all.contains(&at) {
            all.push(at);
        }
    }

    /// The certificates for a host, whatever its case; empty: none.
    pub(super) fn find(&self, host: &str) -> &[usize] {
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() || host.len() > HOST_MAX {
            return &[];
        }
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.find_lower(&host.to_ascii_lowercase());
        }
        self.find_lower(host)
    }

    fn find_lower(&self, host: &str) -> &[usize] {
        if let Some(all) = self.exact.get(host) {
            return all;
        }
        match host.split_once('.') {
            Some((label, rest)) if !label.is_empty() => {
                self.wild.get(rest).map_or(&[], Vec::as_slice)
            }
            Some(_) | None => &[],
        }
    }

    /// The certificates that stand for a name as it was added.
    pub(super) fn named(&self, name: &str) -> &[usize] {
        let name = name.to_ascii_lowercase();
        let all = match name.strip_prefix("*.") {
            Some(rest) => self.wild.get(rest),
            None => self.exact.get(name.as_str()),
        };
        all.map_or(&[], Vec::as_slice)
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
        names.add("www.shop.example", 1);
        names.add("192.0.2.1", 3);
        for (host, found) in [
            ("a.shop.example", &[0][..]),
            ("A.SHOP.example.", &[0]),
            ("www.shop.example", &[1, 2]),
            ("192.0.2.1", &[3]),
            ("shop.example", &[]),
            ("a.b.shop.example", &[]),
            (".shop.example", &[]),
            ("", &[]),
            (".", &[]),
        ] {
            assert_eq!(names.find(host), found, "{host}");
        }
        assert_eq!(names.find(&"a".repeat(300)), &[0; 0]);
        assert_eq!(names.named("*.SHOP.example"), [0]);
        assert_eq!(names.named("www.shop.example"), [1, 2]);
        assert_eq!(names.named("a.shop.example"), &[0; 0]);
    }
}
