//! The closed sets of label values.
//!
//! Promises: every value of a label that is not a configured id is a variant
//! of one of these enums, so the number of series has a bound. Refuses: text
//! from clients.

use meridian_policies::TlsFault;

/// Declares an enum whose variants are label values.
macro_rules! labels {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$doc:meta])* $variant:ident = $text:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// How many values there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The label value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Position in [`Self::ALL`].
            pub(crate) const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// What a client speaks on a connection.
    pub enum Protocol {
        /// HTTP/1.1 or 1.0.
        H1 = "h1",
        /// HTTP/2.
        H2 = "h2",
        /// HTTP/3.
        H3 = "h3",
        /// A WebSocket tunnel, whatever it was upgraded from.
        WebSocket = "websocket",
    }
}

labels! {
    /// Why a client's connection ended.
    pub enum CloseReason {
        /// The client closed between messages.
        Client = "client-closed",
        /// The last message was one after which the version or a `Connection`
        /// field asks for the end.
        Finished = "finished",
        /// The client went away in the middle of a message.
        ClientGone = "client-gone",
        /// No request for the keep-alive time.
        Idle = "idle-timeout",
        /// A head took too long.
        HeadTimeout = "head-timeout",
        /// A body was too slow.
        BodyTimeout = "body-timeout",
        /// The client did not take what was sent.
        WriteTimeout = "write-timeout",
        /// The exchange reached its own bound.
        TotalTimeout = "total-timeout",
        /// A WebSocket was silent for as long as its route allows.
        WebSocketIdle = "websocket-idle",
        /// A WebSocket lasted for as long as its route allows.
        WebSocketLifetime = "websocket-lifetime",
        /// What came was not HTTP as the edge reads it.
        Malformed = "malformed",
        /// An answer that had begun could not be completed.
        UpstreamBroke = "upstream-broke",
        /// The bound of requests on one connection was reached.
        RequestLimit = "request-limit",
        /// The connection has lived as long as it may.
        Lifetime = "lifetime",
        /// The process has as many connections as it may.
        ProcessLimit = "process-limit",
        /// The address has as many connections as it may.
        AddressLimit = "address-limit",
        /// More connections in a second than may come.
        ConnectionRate = "connection-rate",
        /// An access rule refused the address.
        Denied = "denied",
        /// More control frames or resets than any client needs.
        Flood = "flood",
        /// No PROXY protocol header, a bad one, or a peer that may not send one.
        ProxyProtocol = "proxy-protocol",
        /// The TLS handshake failed.
        Handshake = "handshake",
        /// More handshakes in a second than may begin.
        HandshakeRate = "handshake-rate",
        /// The process drains.
        Drained = "drained",
        /// A fault of the edge or its machine.
        Internal = "internal",
    }
}

labels! {
    /// Why a WebSocket ended.
    pub enum WebSocketEnd {
        /// The backend said goodbye, or both sides did. Where no frames were
        /// spoken: both sides have ended.
        Complete = "complete",
        /// The client left, or did not take what was sent.
        ClientGone = "client-gone",
        /// The backend left, or did not take what was sent.
        UpstreamBroke = "upstream-broke",
        /// It was silent for as long as its route allows.
        Idle = "idle",
        /// It lasted for as long as its route allows.
        Lifetime = "lifetime",
        /// The process drains.
        Drained = "drained",
    }
}

labels! {
    /// Why a TLS handshake failed.
    pub enum HandshakeFailure {
        /// It took too long.
        TimedOut = "timed-out",
        /// The client closed before the end.
        ClientGone = "client-gone",
        /// What came is not TLS.
        NotTls = "not-tls",
        /// No version, cipher, group or protocol in common.
        NoAgreement = "no-agreement",
        /// The client sent an alert, usually about the certificate.
        Alert = "alert",
        /// The client's certificate is missing or not believed.
        ClientCertificate = "client-certificate",
        /// Anything else that breaks the protocol.
        Protocol = "protocol",
        /// A fault of the edge.
        Internal = "internal",
    }
}

labels! {
    /// How an attempt to connect to an endpoint ended.
    pub enum ConnectResult {
        /// Connected.
        Connected = "connected",
        /// Nobody listens there.
        Refused = "refused",
        /// No answer within the connect deadline.
        TimedOut = "timed-out",
        /// No route, no such name, network down.
        Unreachable = "unreachable",
        /// This process may open no more files.
        Exhausted = "exhausted",
        /// Anything else.
        Failed = "failed",
        /// [`TlsFault::UnknownCa`].
        TlsUnknownCa = "tls-unknown-ca",
        /// [`TlsFault::NameMismatch`].
        TlsNameMismatch = "tls-name-mismatch",
        /// [`TlsFault::Expired`].
        TlsExpired = "tls-expired",
        /// [`TlsFault::NotYetValid`].
        TlsNotYetValid = "tls-not-yet-valid",
        /// [`TlsFault::BadCertificate`].
        TlsBadCertificate = "tls-bad-certificate",
        /// [`TlsFault::ClientCertificate`]; with TLS 1.3 it follows a
        /// `connected`.
        TlsClientCertificate = "tls-client-certificate",
        /// [`TlsFault::Alert`].
        TlsAlert = "tls-alert",
        /// [`TlsFault::NoAgreement`].
        TlsNoAgreement = "tls-no-agreement",
        /// [`TlsFault::Protocol`].
        TlsProtocol = "tls-protocol",
        /// [`TlsFault::Closed`].
        TlsClosed = "tls-closed",
        /// [`TlsFault::TimedOut`].
        TlsTimedOut = "tls-timed-out",
    }
}

impl From<TlsFault> for ConnectResult {
    fn from(fault: TlsFault) -> Self {
        match fault {
            TlsFault::UnknownCa => Self::TlsUnknownCa,
            TlsFault::NameMismatch => Self::TlsNameMismatch,
            TlsFault::Expired => Self::TlsExpired,
            TlsFault::NotYetValid => Self::TlsNotYetValid,
            TlsFault::BadCertificate => Self::TlsBadCertificate,
            TlsFault::ClientCertificate => Self::TlsClientCertificate,
            TlsFault::Alert => Self::TlsAlert,
            TlsFault::NoAgreement => Self::TlsNoAgreement,
            TlsFault::Protocol => Self::TlsProtocol,
            TlsFault::Closed => Self::TlsClosed,
            TlsFault::TimedOut => Self::TlsTimedOut,
        }
    }
}

labels! {
    /// What made the edge try again.
    pub enum RetryReason {
        /// No connection came about.
        Connect = "connect",
        /// A kept connection was closed before the first byte of an answer.
        Stale = "stale-connection",
        /// The connection broke before a whole answer.
        Reset = "reset",
        /// The answer's status asks for another endpoint.
        Status = "status",
        /// No first byte in time.
        FirstByteTimeout = "first-byte-timeout",
    }
}

labels! {
    /// Why lines of the access log are missing.
    pub enum DropReason {
        /// The writer is behind and its queue is full.
        QueueFull = "queue-full",
        /// The file or pipe refused them (disk full, reader gone).
        WriteFailed = "write-failed",
    }
}

labels! {
    /// Request method as a label: the registered ones, `OTHER` for the rest.
    pub enum MethodLabel {
        /// `GET`.
        Get = "GET",
        /// `HEAD`.
        Head = "HEAD",
        /// `POST`.
        Post = "POST",
        /// `PUT`.
        Put = "PUT",
        /// `DELETE`.
        Delete = "DELETE",
        /// `OPTIONS`.
        Options = "OPTIONS",
        /// `PATCH`.
        Patch = "PATCH",
        /// `TRACE`.
        Trace = "TRACE",
        /// `CONNECT`.
        Connect = "CONNECT",
        /// Any other token.
        Other = "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_the_place_in_the_list_of_all() {
        for (place, reason) in CloseReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
        assert_eq!(CloseReason::COUNT, CloseReason::ALL.len());
    }

    #[test]
    fn what_tls_failed_by_is_called_the_same_everywhere() {
        for fault in TlsFault::ALL {
            assert_eq!(ConnectResult::from(fault).as_str(), fault.as_str());
        }
    }

    #[test]
    fn label_values_are_distinct() {
        let mut values: Vec<_> = CloseReason::ALL
            .iter()
            .map(|reason| reason.as_str())
            .collect();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), CloseReason::COUNT);
    }
}
