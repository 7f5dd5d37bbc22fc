//! The opening handshake toward a backend (RFC 6455, section 4).
//!
//! Promises: a backend's 101 is believed only if it was computed from the key
//! that this very request brought. Over HTTP/1.1 that is the client's key;
//! an extended CONNECT has none, and the edge makes one.

use data_encoding::BASE64;
use meridian_wire::{Known, RequestHead, ResponseHead, Upgrade};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use crate::pipeline::ids::RequestId;

/// What a server appends to the key (RFC 6455, 1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A key: 16 bytes in base64.
pub type Key = [u8; 24];

/// The key for a request that brings none. It is no secret, only different
/// each time: the request's id is that, too.
pub fn key(id: &RequestId) -> Key {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20).wrapping_sub(b'a' - 10) & 0xf,
    };
    let mut bytes = [0; 16];
    for (byte, [high, low]) in bytes.iter_mut().zip(id.as_chunks().0) {
        *byte = digit(*high) << 4 | digit(*low);
    }
    let mut key = [0; 24];
    base64(&bytes, &mut key);
    key
}

/// Whether a 101 answers this request: its fields switch to WebSocket, and its
/// `Sec-WebSocket-Accept` fits the key.
pub fn fits(request: &RequestHead, id: &RequestId, answer: &ResponseHead) -> bool {
    let made = key(id);
    let key = if request.is_extended_connect() {
        Some(made.as_slice())
    } else {
        request.first(Known::SecWebSocketKey)
    };
    let (Some(key), Some(said)) = (key, answer.first(Known::SecWebSocketAccept)) else {
        return false;
    };
    answer.upgrade() == Upgrade::WebSocket && said == accept(key)
}

/// `Sec-WebSocket-Accept` for a key.
fn accept(key: &[u8]) -> [u8; 28] {
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(MAGIC);
    let mut accept = [0; 28];
    base64(hash.finish().as_ref(), &mut accept);
    accept
}

/// RFC 4648, section 4, with padding; `out` is of the length that this takes.
fn base64(bytes: &[u8], out: &mut [u8]) {
    BASE64.encode_mut(bytes, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_comes_out() {
        assert_eq!(
            &accept(b"dGhlIHNhbXBsZSBub25jZQ=="),
            b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn a_key_is_the_requests_id_in_base64() {
        let id = *b"00112233445566778899aabbccddeeff";
        assert_eq!(&key(&id), b"ABEiM0RVZneImaq7zN3u/w==");
    }

    #[test]
    fn base64_is_what_the_rfc_says() {
        for (plain, coded) in [
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = vec![0; coded.len()];
            base64(plain.as_bytes(), &mut out);
            assert_eq!(out, coded.as_bytes());
        }
    }
}
