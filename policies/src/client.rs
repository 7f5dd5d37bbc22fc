//! Who the client is: the connection's other end, or whom trusted hops name.

use std::net::{IpAddr, SocketAddr};

use meridian_geo::IpNet;
use meridian_wire::{Known, RequestHead};

use crate::facts::{ClientSource, Trust};

/// Hops looked at, from the right. What lies further left is nobody's word.
const HOPS_MAX: usize = 64;

/// The client's canonical address, and who named it: the right-most address
/// of `X-Forwarded-For` that is no trusted hop, when the peer is one. An
/// address that can't be read ends the walk at the hop that passed it on.
pub fn client(
    peer: IpAddr,
    trust: Trust,
    hops: &[IpNet],
    head: &RequestHead,
) -> (IpAddr, ClientSource) {
    match trust {
        Trust::Untrusted => (peer, ClientSource::Peer),
        Trust::Trusted => walk(peer, hops, head),
    }
}

fn walk(peer: IpAddr, hops: &[IpNet], head: &RequestHead) -> (IpAddr, ClientSource) {
    if !head.has(Known::XForwardedFor) {
        return (peer, ClientSource::Peer);
    }
    let mut found = (peer, ClientSource::Peer);
    let mut seen = 0;
    // Several fields are one list, the last of them right-most.
    for at in (0..head.count(Known::XForwardedFor)).rev() {
        let Some(value) = head.all(Known::XForwardedFor).nth(at) else {
            break;
        };
        for element in value.rsplit(|byte| *byte == b',') {
            let Some(address) = address(element) else {
                return found;
            };
            found = (address, ClientSource::TrustedHop);
            seen += 1;
            if seen == HOPS_MAX || !hops.iter().any(|net| net.contains(&address)) {
                return found;
            }
        }
    }
    found
}

/// An address as proxies write it: bare, with a port, in brackets.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?.trim_matches([' ', '\t']);
    let parsed = text.parse::<IpAddr>().ok().or_else(|| {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Some(socket.ip());
        }
        text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
    })?;
    Some(parsed.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_wire::HeadLimits;
    use meridian_wire::h1::RequestParser;

    fn head(fields: &str) -> RequestHead {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = RequestHead::new();
        let parsed = RequestParser::new().parse(text.as_bytes(), &HeadLimits::default(), &mut head);
        assert!(parsed.unwrap().is_some());
        head
    }

    fn found(trust: Trust, fields: &str) -> (String, ClientSource) {
        let hops = [
            "10.0.0.0/8".parse().unwrap(),
            "127.0.0.0/8".parse().unwrap(),
        ];
        let (ip, source) = client(IpAddr::from([10, 0, 0, 1]), trust, &hops, &head(fields));
        (ip.to_string(), source)
    }

    #[test]
    fn an_untrusted_peer_names_nobody() {
        let (ip, source) = found(Trust::Untrusted, "X-Forwarded-For: 192.0.2.1\r\n");
        assert_eq!((ip.as_str(), source), ("10.0.0.1", ClientSource::Peer));
    }

    #[test]
    fn the_right_most_address_that_is_no_hop_is_the_client() {
        for fields in [
            "X-Forwarded-For: 192.0.2.1\r\n",
            "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n",
            "X-Forwarded-For: 6.6.6.6,192.0.2.1 , 10.9.9.9\r\n",
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1, 127.0.0.1\r\n",
            "X-Forwarded-For: 192.0.2.1:4711\r\n",
            "X-Forwarded-For: ::ffff:192.0.2.1\r\n",
            "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.1.1.1\r\n",
        ] {
            let (ip, source) = found(Trust::Trusted, fields);
            assert_eq!(
                (ip.as_str(), source),
                ("192.0.2.1", ClientSource::TrustedHop),
                "{fields}"
            );
        }
    }

    #[test]
    fn ipv6_comes_bare_or_in_brackets() {
        for fields in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:443"] {
            let (ip, _) = found(Trust::Trusted, &format!("X-Forwarded-For: {fields}\r\n"));
            assert_eq!(ip, "2001:db8::1");
        }
    }

    #[test]
    fn what_cannot_be_read_ends_the_walk_at_the_hop_that_passed_it_on() {
        let (ip, source) = found(Trust::Trusted, "X-Forwarded-For: unknown\r\n");
        assert_eq!((ip.as_str(), source), ("10.0.0.1", ClientSource::Peer));
        let (ip, source) = found(Trust::Trusted, "X-Forwarded-For: 6.6.6.6, x, 10.0.0.2\r\n");
        assert_eq!(
            (ip.as_str(), source),
            ("10.0.0.2", ClientSource::TrustedHop)
        );
    }

    #[test]
    fn a_thousand_hops_are_not_walked() {
        let chain = vec!["10.0.0.3"; 1_000].join(",");
        let (ip, _) = found(
            Trust::Trusted,
            &format!("X-Forwarded-For: 6.6.6.6,{chain}\r\n"),
        );
        assert_eq!(ip, "10.0.0.3");
    }
}
