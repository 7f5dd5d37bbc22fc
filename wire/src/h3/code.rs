//! Error codes, and what went wrong with a stream or a connection.

use std::error::Error;
use std::fmt;

use crate::malformed::Malformed;

macro_rules! codes {
    ($($variant:ident $value:literal $name:literal $text:literal,)*) => {
        /// Error codes of RFC 9114 8.1 and RFC 9204 6.
        #[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
        #[repr(u64)]
        pub enum Code {
            $(#[doc = $text] $variant = $value,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the registry.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

codes! {
    NoError 0x100 "H3_NO_ERROR" "nothing is wrong",
    GeneralProtocolError 0x101 "H3_GENERAL_PROTOCOL_ERROR" "the protocol was violated",
    InternalError 0x102 "H3_INTERNAL_ERROR" "we failed",
    StreamCreationError 0x103 "H3_STREAM_CREATION_ERROR" "a stream that we do not take",
    ClosedCriticalStream 0x104 "H3_CLOSED_CRITICAL_STREAM" "a stream ended that the connection needs",
    FrameUnexpected 0x105 "H3_FRAME_UNEXPECTED" "a frame where it may not stand",
    FrameError 0x106 "H3_FRAME_ERROR" "a frame whose length does not fit its layout",
    ExcessiveLoad 0x107 "H3_EXCESSIVE_LOAD" "the peer makes more work than we take",
    IdError 0x108 "H3_ID_ERROR" "an id that may not be used or used so",
    SettingsError 0x109 "H3_SETTINGS_ERROR" "settings that may not be",
    MissingSettings 0x10a "H3_MISSING_SETTINGS" "no settings at the start of the control stream",
    RequestRejected 0x10b "H3_REQUEST_REJECTED" "the request was not looked at",
    RequestCancelled 0x10c "H3_REQUEST_CANCELLED" "the request or its answer is no longer wanted",
    RequestIncomplete 0x10d "H3_REQUEST_INCOMPLETE" "the stream ended before the request did",
    MessageError 0x10e "H3_MESSAGE_ERROR" "a malformed message",
    ConnectError 0x10f "H3_CONNECT_ERROR" "the connection of a CONNECT failed",
    VersionFallback 0x110 "H3_VERSION_FALLBACK" "to be tried over HTTP/1.1",
    QpackDecompressionFailed 0x200 "QPACK_DECOMPRESSION_FAILED" "a field section that can't be read",
    QpackEncoderStreamError 0x201 "QPACK_ENCODER_STREAM_ERROR" "an instruction of the encoder that may not be",
    QpackDecoderStreamError 0x202 "QPACK_DECODER_STREAM_ERROR" "an instruction of the decoder that may not be",
}

impl Code {
    /// The number that goes over the wire.
    pub const fn value(self) -> u64 {
        self as u64
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What went wrong, and how far it reaches. Always the client's fault.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The request breaks a rule of messages: it gets [`Fault::answer`], or
    /// its stream is reset.
    Message(Malformed),
    /// The stream is to be reset in both directions.
    Stream(Code),
    /// The connection is to be closed.
    Connection(Code),
}

impl Fault {
    /// What the peer is told: in `RESET_STREAM` and `STOP_SENDING`, or in
    /// `CONNECTION_CLOSE` for [`Fault::Connection`].
    pub const fn code(self) -> Code {
        match self {
            Self::Message(rule) if rule.status() == 431 => Code::ExcessiveLoad,
            Self::Message(_) => Code::MessageError,
            Self::Stream(code) | Self::Connection(code) => code,
        }
    }

    /// The status for a request that is well-formed and not served: 405, 414,
    /// 417, 431 or 501. `None`: there is no request to answer, reset. Has no
    /// meaning once an answer has begun.
    pub const fn answer(self) -> Option<u16> {
        match self {
            Self::Message(rule) if rule.status() != 400 => Some(rule.status()),
            Self::Message(_) | Self::Stream(_) | Self::Connection(_) => None,
        }
    }
}

impl From<Malformed> for Fault {
    fn from(rule: Malformed) -> Self {
        Self::Message(rule)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(rule) => rule.fmt(formatter),
            Self::Stream(code) | Self::Connection(code) => code.fmt(formatter),
        }
    }
}

impl Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refused_requests_get_an_answer_and_malformed_ones_a_reset() {
        for &rule in Malformed::ALL {
            let fault = Fault::from(rule);
            assert_eq!(fault.answer().is_none(), rule.status() == 400, "{rule:?}");
        }
        assert_eq!(
            Fault::from(Malformed::HostConflict).code().value(),
            0x10e,
            "H3_MESSAGE_ERROR"
        );
        assert_eq!(Fault::from(Malformed::HeadTooLarge).answer(), Some(431));
        assert_eq!(Fault::Connection(Code::IdError).answer(), None);
    }

    #[test]
    fn codes_have_the_numbers_of_the_registry() {
        assert_eq!(Code::NoError.value(), 0x100);
        assert_eq!(Code::VersionFallback.value(), 0x110);
        assert_eq!(Code::QpackDecoderStreamError.value(), 0x202);
        let numbers: Vec<_> = Code::ALL.iter().map(|code| code.value()).collect();
        assert!(numbers.is_sorted() && numbers.len() == 20);
    }
}
