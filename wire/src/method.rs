//! Request methods.

/// A request method. The list only decides the enum: the text of an
/// [`Method::Extension`] is kept in the head.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `PATCH`
    Patch,
    /// `TRACE`
    Trace,
    /// `CONNECT`; only as RFC 8441 extended CONNECT, plain CONNECT is refused.
    Connect,
    /// Any other token. Methods are case-sensitive: `get` is one of these.
    Extension,
}

impl Method {
    /// The method of this text (case-sensitive).
    pub const fn of(text: &[u8]) -> Self {
        match text {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            _ => Self::Extension,
        }
    }

    /// The text of a method of the list; `None` for [`Method::Extension`].
    pub const fn text(self) -> Option<&'static str> {
        Some(match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Trace => "TRACE",
            Self::Connect => "CONNECT",
            Self::Extension => return None,
        })
    }

    /// Read-only by definition (RFC 9110 9.2.1).
    pub const fn is_safe(self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Options | Self::Trace => true,
            Self::Post
            | Self::Put
            | Self::Delete
            | Self::Patch
            | Self::Connect
            | Self::Extension => false,
        }
    }

    /// May be sent twice without a second effect (RFC 9110 9.2.2). Of an
    /// extension nothing is known, so it is not.
    pub const fn is_idempotent(self) -> bool {
        match self {
            Self::Put | Self::Delete => true,
            Self::Get
            | Self::Head
            | Self::Post
            | Self::Options
            | Self::Patch
            | Self::Trace
            | Self::Connect
            | Self::Extension => self.is_safe(),
        }
    }
}
