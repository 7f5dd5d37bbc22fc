//! Bounds of one message head.

/// Bounds of one message head. Past any of them the message is refused.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct HeadLimits {
    /// Bytes of the whole head, its empty line included. Default 65,536; more
    /// than 16 MiB counts as 16 MiB; zero refuses everything.
    pub head_bytes: usize,
    /// Field lines. Default 100; zero allows none.
    pub fields: usize,
    /// Bytes of the request target. Default 8,192; zero refuses every request.
    pub target_bytes: usize,
}

impl HeadLimits {
    /// No configuration may pass this.
    const HEAD_BYTES_MAX: usize = 16 << 20;

    pub(crate) fn head_bytes(&self) -> usize {
        self.head_bytes.min(Self::HEAD_BYTES_MAX)
    }
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            head_bytes: 65_536,
            fields: 100,
            target_bytes: 8_192,
        }
    }
}
