#![no_main]
//! Any `X-Forwarded-For`: an untrusted peer names nobody, and whom a trusted
//! one names stands in the field and is no hop, unless all are.

use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use meridian_policies::{ClientSource, Trust, client};
use meridian_wire::h1::RequestParser;
use meridian_wire::{HeadLimits, Known, RequestHead};

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

/// The addresses of an element, as anybody would read it.
fn read(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?.trim_matches([' ', '\t']);
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip = text
        .parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(|| bare?.parse().ok())?;
    Some(IpAddr::to_canonical(&ip))
}

fuzz_target!(|data: &[u8]| {
    let mut text = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
    for line in data.split(|byte| *byte == b'\n') {
        text.extend_from_slice(b"X-Forwarded-For: ");
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    let mut head = RequestHead::new();
    let parsed = RequestParser::new().parse(&text, &HeadLimits::default(), &mut head);
    if !matches!(parsed, Ok(Some(_))) {
        return;
    }
    let hops = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    assert_eq!(
        client(PEER, Trust::Untrusted, &hops, &head),
        (PEER, ClientSource::Peer)
    );
    let (found, source) = client(PEER, Trust::Trusted, &hops, &head);
    assert_eq!(found, found.to_canonical());
    match source {
        ClientSource::Peer => assert_eq!(found, PEER),
        ClientSource::TrustedHop => {
            let named = head
                .all(Known::XForwardedFor)
                .flat_map(|value| value.split(|byte| *byte == b','))
                .any(|element| read(element) == Some(found));
            assert!(named, "{found} is not in the field");
        }
    }
});
