//! Cookie crumbs of HTTP/2 and HTTP/3.

use crate::fields::Fields;
use crate::known::Known;

/// Longest joined cookie is bounded by the head; bytes between two crumbs.
const CRUMB_JOINT: &[u8] = b"; ";

impl Fields {
    /// Joins cookie crumbs into one field (RFC 9113 8.2.3, RFC 9114 4.2.1).
    pub(crate) fn join_cookies(&mut self) {
        if self.count(Known::Cookie) < 2 {
            return;
        }
        let start = self.raw.len();
        self.raw.extend_from_slice(b"cookie: ");
        let value = self.raw.len();
        for entry in self
            .entries
            .iter()
            .filter(|entry| entry.known == Known::Cookie)
            // An empty crumb says nothing, and would leave a joint at the end.
            .filter(|entry| !entry.value.bounds().is_empty())
        {
            if self.raw.len() > value {
                self.raw.extend_from_slice(CRUMB_JOINT);
            }
            self.raw.extend_from_within(entry.value.bounds());
        }
        self.remove(Known::Cookie);
        self.adopt(start, value);
    }
}
