//! Why a message was refused: one variant a rule.
//!
//! Promises: each rule has one name, one status and one sentence, and
//! `docs/http-strictness.md` lists them all (a test compares).

use std::error::Error;
use std::fmt;

macro_rules! rules {
    ($($variant:ident $status:literal $name:literal $text:literal,)*) => {
        /// Why a message was refused: one variant a rule. An upstream answer
        /// that breaks one is a 502 and its connection is not used again.
        #[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
        pub enum Malformed {
            $(#[doc = $text] $variant,)*
        }

        impl Malformed {
            /// Every rule, in the order of the table in the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The status a client gets.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// Kebab-case name, for `Proxy-Status` and metric labels.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One short sentence for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

rules! {
    BareLf 400 "bare-lf" "a line ends in LF without CR",
    BareCr 400 "bare-cr" "a CR is not followed by LF",
    ObsFold 400 "obs-fold" "a line begins with white space",
    SpaceBeforeColon 400 "space-before-colon" "white space between field name and colon",
    ControlCharacter 400 "control-character" "a control character or NUL in the head",
    FieldName 400 "field-name" "a field name is empty or not a token",
    MissingColon 400 "missing-colon" "a field line has no colon",
    RequestLine 400 "request-line" "the request line is not method, target and version",
    MethodName 400 "method-name" "the method is not a token",
    MethodTooLong 501 "method-too-long" "the method has more than 32 characters",
    ConnectMethod 405 "connect-method" "CONNECT is not served",
    VersionUnsupported 505 "version-unsupported" "neither HTTP/1.1 nor HTTP/1.0",
    TargetCharacter 400 "target-character" "a character that may not stand in a target",
    TargetForm 400 "target-form" "the target has none of the allowed forms",
    TargetTooLong 414 "target-too-long" "the target is longer than allowed",
    PercentEscape 400 "percent-escape" "a percent sign without two hex digits in the path",
    EncodedNul 400 "encoded-nul" "the path has an encoded NUL",
    SchemeUnsupported 400 "scheme-unsupported" "the scheme is neither http nor https",
    Userinfo 400 "userinfo" "the authority has user information",
    HostMissing 400 "host-missing" "no Host, or an empty one",
    HostRepeated 400 "host-repeated" "more than one Host",
    HostSyntax 400 "host-syntax" "Host or authority is not a host with an optional port",
    HostConflict 400 "host-conflict" "Host and authority differ",
    ContentLengthSyntax 400 "content-length-syntax" "Content-Length is not one plain decimal number",
    ContentLengthRepeated 400 "content-length-repeated" "more than one Content-Length",
    ContentLengthOverflow 400 "content-length-overflow" "Content-Length is 2^63 or more",
    TransferEncodingRepeated 400 "transfer-encoding-repeated" "more than one transfer coding",
    TransferCoding 501 "transfer-coding" "a transfer coding other than chunked",
    TransferEncodingVersion 400 "transfer-encoding-version" "Transfer-Encoding in HTTP/1.0",
    FramingConflict 400 "framing-conflict" "both Content-Length and Transfer-Encoding",
    ConnectionOption 400 "connection-option" "Connection has a non-token, names Host or Content-Length, or names too much",
    Expectation 417 "expectation" "an expectation other than 100-continue",
    HeadTooLarge 431 "head-too-large" "the head has more bytes than allowed",
    TooManyFields 431 "too-many-fields" "the head has more fields than allowed",
    ChunkSize 400 "chunk-size" "a chunk size is not 1 to 16 hex digits below 2^63",
    ChunkExtension 400 "chunk-extension" "a chunk extension is malformed",
    ChunkExtensionTooLong 400 "chunk-extension-too-long" "chunk extensions are longer than allowed",
    ChunkEnd 400 "chunk-end" "chunk data is not followed by CRLF",
    TrailersTooLarge 431 "trailers-too-large" "more trailer fields or bytes than allowed",
    Truncated 400 "truncated" "the peer closed before the message was complete",
    BodyTooLong 400 "body-too-long" "more body than Content-Length says",
    BodyTooShort 400 "body-too-short" "less body than Content-Length says",
    BodyForbidden 400 "body-forbidden" "framing fields on a message that cannot have a body",
    StatusLine 400 "status-line" "the status line is not version, status and reason",
    StatusCode 400 "status-code" "the status is not between 100 and 599",
    UppercaseName 400 "uppercase-name" "a field name with upper-case letters in HTTP/2 or HTTP/3",
    ConnectionSpecific 400 "connection-specific" "a connection-specific field in HTTP/2 or HTTP/3",
    TeValue 400 "te-value" "TE other than trailers in HTTP/2 or HTTP/3",
    FieldValue 400 "field-value" "a field value begins or ends with white space in HTTP/2 or HTTP/3",
    PseudoMissing 400 "pseudo-missing" "a required pseudo-header is missing",
    PseudoRepeated 400 "pseudo-repeated" "a pseudo-header is repeated",
    PseudoMisplaced 400 "pseudo-misplaced" "a pseudo-header is unknown, forbidden here or follows a field",
    ProtocolUnsupported 501 "protocol-unsupported" "an extended CONNECT for another protocol than websocket",
    LengthAtEnd 400 "length-at-end" "a Content-Length above zero on a stream that has ended",
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

impl Error for Malformed {}
