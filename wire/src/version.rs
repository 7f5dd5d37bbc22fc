//! Versions of HTTP.

/// The version a message came in.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Version {
    /// HTTP/1.0 (RFC 1945).
    Http10,
    /// HTTP/1.1 (RFC 9112).
    Http11,
    /// HTTP/2 (RFC 9113).
    Http2,
    /// HTTP/3 (RFC 9114).
    Http3,
}

impl Version {
    /// As written in a log line: `HTTP/1.1`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Http3 => "HTTP/3",
        }
    }

    /// As a label value: `h1`, `h2` or `h3`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Http10 | Self::Http11 => "h1",
            Self::Http2 => "h2",
            Self::Http3 => "h3",
        }
    }
}
