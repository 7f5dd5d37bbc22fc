//! Connection ids that say where their connection lives.
//!
//! Promises: an id names the process's generation and the thread, sealed and
//! authenticated with a secret of this process (shared with those it takes
//! over from), so that two ids of one connection can't be told to belong
//! together and nobody else can make one. Refuses: ids that no process of ours
//! has made.

use std::io;
use std::sync::Arc;

use quinn::{ConnectionId, ConnectionIdGenerator};
use ring::aead::quic::{AES_128, HeaderProtectionKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{hkdf, hmac};

/// Bytes of a connection id: nonce, sealed place, tag.
pub(super) const CID_LEN: usize = NONCE + PLACE + TAG;
const NONCE: usize = 8;
const PLACE: usize = 2;
/// One forged id in 2^32 passes. What it gains is one datagram on another
/// thread, where no connection knows it.
const TAG: usize = 4;
/// What the keyed function takes.
const BLOCK: usize = 16;

/// The generation of a process and the secret that it shares with the ones it
/// takes over from.
#[derive(Clone)]
pub(super) struct Identity {
    generation: u8,
    secret: [u8; 32],
}

impl Identity {
    /// The first generation, with a fresh secret. Fails only when the machine
    /// has no randomness.
    pub(super) fn first() -> io::Result<Self> {
        let mut secret = [0; 32];
        SystemRandom::new()
            .fill(&mut secret)
            .map_err(|_| io::Error::other("the machine has no randomness"))?;
        Ok(Self {
            generation: 0,
            secret,
        })
    }

    /// What the next generation is told, in confidence: its number (they count
    /// modulo 256; few live at once) and the secret.
    pub(super) fn successor(&self) -> [u8; 33] {
        let mut told = [0; 33];
        let [number, secret @ ..] = &mut told;
        *number = self.generation.wrapping_add(1);
        secret.copy_from_slice(&self.secret);
        told
    }

    /// Which generation this is.
    pub(super) fn generation(&self) -> u8 {
        self.generation
    }

    /// The generation that was told `told`.
    pub(super) fn taken_over(told: &[u8; 33]) -> Self {
        let [generation, secret @ ..] = *told;
        Self { generation, secret }
    }

    /// Signs stateless resets: the next generation can reset what this one
    /// left behind.
    pub(super) fn reset_key(&self) -> Arc<hmac::Key> {
        let mut key = [0; 32];
        self.expand(b"reset", &mut key);
        Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// Seals the tokens of Retry: good on every thread and in the next
    /// generation.
    pub(super) fn token_key(&self) -> Arc<hkdf::Prk> {
        let mut key = [0; 32];
        self.expand(b"token", &mut key);
        Arc::new(hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &key))
    }

    /// Makes and reads connection ids.
    pub(super) fn cids(&self) -> Cids {
        let mut key = [0; 16];
        self.expand(b"connection id", &mut key);
        Cids {
            key: HeaderProtectionKey::new(&AES_128, &key).ok(),
            generation: self.generation,
            random: SystemRandom::new(),
        }
    }

    fn expand(&self, label: &[u8], out: &mut [u8]) {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"meridian quic");
        let info = [label];
        let filled = salt
            .extract(&self.secret)
            .expand(&info, Bytes(out.len()))
            .and_then(|okm| okm.fill(out));
        debug_assert!(filled.is_ok(), "one block of the hash is enough");
    }
}

struct Bytes(usize);

impl hkdf::KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// Where a datagram belongs.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// To a thread of this process.
    Thread(u8),
    /// To the process of this generation, if it still lives.
    Generation(u8),
    /// To whoever received it: the id is the client's choice.
    New,
    /// To nobody: no process of ours has made the id.
    Nobody,
}

/// Makes and reads connection ids.
pub(super) struct Cids {
    /// `None` can't happen: the key has the length that the cipher asks for.
    key: Option<HeaderProtectionKey>,
    generation: u8,
    random: SystemRandom,
}

impl Cids {
    /// A fresh id for a connection on `thread`.
    fn make(&self, thread: u8) -> ConnectionId {
        let mut id = [0; CID_LEN];
        let [nonce @ .., _, _, _, _, _, _] = &mut id;
        // Without randomness ids would repeat; quinn then asks again. It never
        // fails on a machine that has started.
        let _ = self.random.fill(nonce);
        let nonce = *nonce;
        let place = [self.generation, thread];
        let (seal, tag) = (self.seal(nonce), self.tag(nonce, place));
        let [_, _, _, _, _, _, _, _, rest @ ..] = &mut id;
        let sealed = place.iter().zip(seal).map(|(byte, mask)| byte ^ mask);
        for (to, from) in rest.iter_mut().zip(sealed.chain(tag)) {
            *to = from;
        }
        ConnectionId::new(&id)
    }

    /// Generation and thread of an id, if it is one of ours.
    fn read(&self, id: &[u8]) -> Option<(u8, u8)> {
        let id = <&[u8; CID_LEN]>::try_from(id).ok()?;
        let (nonce, rest) = id.split_first_chunk()?;
        let ([generation, thread], tag) = rest.split_first_chunk()?;
        let [first, second] = self.seal(*nonce);
        let (generation, thread) = (generation ^ first, thread ^ second);
        let expected = self.tag(*nonce, [generation, thread]);
        (expected == *tag).then_some((generation, thread))
    }

    /// Whom a datagram belongs to, by the id of its first packet.
    pub(super) fn place(&self, datagram: &[u8]) -> Place {
        let Some((form, id)) = destination(datagram) else {
            return Place::Nobody;
        };
        match (self.read(id), form) {
            (Some((generation, thread)), _) if generation == self.generation => {
                Place::Thread(thread)
            }
            (Some((generation, _)), _) => Place::Generation(generation),
            (None, Form::Long) => Place::New,
            (None, Form::Short) => Place::Nobody,
        }
    }

    fn seal(&self, nonce: [u8; NONCE]) -> [u8; PLACE] {
        let [a, b, ..] = self.keyed(nonce, [0; PLACE], 0);
        [a, b]
    }

    fn tag(&self, nonce: [u8; NONCE], place: [u8; PLACE]) -> [u8; TAG] {
        let [a, b, c, d, _] = self.keyed(nonce, place, 1);
        [a, b, c, d]
    }

    /// A pseudo-random function: one block of AES.
    fn keyed(&self, nonce: [u8; NONCE], place: [u8; PLACE], purpose: u8) -> [u8; 5] {
        let mut block = [purpose; BLOCK];
        for (to, from) in block.iter_mut().zip(nonce.into_iter().chain(place)) {
            *to = from;
        }
        self.key
            .as_ref()
            .and_then(|key| key.new_mask(&block).ok())
            .unwrap_or_default()
    }
}

/// The two forms of a header: in the short one an id is always one of ours.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Form {
    Long,
    Short,
}

/// The destination of a datagram's first packet (RFC 8999, 5.1 and 5.2).
fn destination(datagram: &[u8]) -> Option<(Form, &[u8])> {
    let first = *datagram.first()?;
    if first & 0x80 == 0 {
        return Some((Form::Short, datagram.get(1..=CID_LEN)?));
    }
    let length = usize::from(*datagram.get(5)?);
    Some((Form::Long, datagram.get(6..6 + length)?))
}

/// What an endpoint asks for its ids.
pub(super) struct Generator {
    pub(super) cids: Arc<Cids>,
    pub(super) thread: u8,
}

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        self.cids.make(self.thread)
    }

    fn cid_len(&self) -> usize {
        CID_LEN
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(id: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0x40];
        datagram.extend_from_slice(id);
        datagram.extend_from_slice(&[7; 30]);
        datagram
    }

    fn long(id: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0xc0, 0, 0, 0, 1, u8::try_from(id.len()).unwrap()];
        datagram.extend_from_slice(id);
        datagram.extend_from_slice(&[7; 30]);
        datagram
    }

    #[test]
    fn an_id_names_its_thread_in_either_header_form() {
        let cids = Identity::first().unwrap().cids();
        for thread in [0, 1, 7, 255] {
            let id = cids.make(thread);
            assert_eq!(cids.place(&short(&id)), Place::Thread(thread));
            assert_eq!(cids.place(&long(&id)), Place::Thread(thread));
        }
    }

    #[test]
    fn a_changed_bit_anywhere_makes_an_id_unknown() {
        let cids = Identity::first().unwrap().cids();
        let id = cids.make(3);
        for bit in 0..CID_LEN * 8 {
            let mut changed = id.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cids.read(&changed), None, "bit {bit}");
        }
    }

    #[test]
    fn an_id_of_a_client_makes_a_new_connection_only_in_a_long_header() {
        let cids = Identity::first().unwrap().cids();
        for id in [&[][..], &[1; 8], &[2; CID_LEN], &[3; 20]] {
            assert_eq!(cids.place(&long(id)), Place::New);
        }
        assert_eq!(cids.place(&short(&[4; CID_LEN])), Place::Nobody);
    }

    #[test]
    fn a_cut_datagram_is_nobodys() {
        let cids = Identity::first().unwrap().cids();
        let id = cids.make(0);
        for length in 0..6 + CID_LEN {
            assert_eq!(cids.place(&long(&id)[..length]), Place::Nobody);
        }
        for length in 0..=CID_LEN {
            assert_eq!(cids.place(&short(&id)[..length]), Place::Nobody);
        }
    }

    #[test]
    fn the_next_generation_reads_the_ids_of_the_one_before() {
        let old = Identity::first().unwrap();
        let new = Identity::taken_over(&old.successor());
        let (before, after) = (old.cids(), new.cids());
        let place = after.place(&short(&before.make(5)));
        assert_eq!(place, Place::Generation(0));
        assert_eq!(before.read(&after.make(2)), Some((1, 2)));
        let stranger = Identity::first().unwrap().cids();
        assert_eq!(after.read(&stranger.make(5)), None);
    }

    #[test]
    fn two_ids_of_one_thread_have_nothing_in_common() {
        let cids = Identity::first().unwrap().cids();
        let (mut same, rounds) = ([0; CID_LEN], 64);
        for _ in 0..rounds {
            let (one, other) = (cids.make(1), cids.make(1));
            for (count, (a, b)) in same.iter_mut().zip(one.iter().zip(other.iter())) {
                *count += u32::from(a == b);
            }
        }
        // By chance a byte is the same once in 256 pairs.
        assert!(same.iter().all(|count| *count < 8), "{same:?}");
    }
}
