//! Session tickets: sessions that the clients keep, sealed for us.
//!
//! Promises: no state for each session; replicas with the same key file resume
//! each other's sessions; a ticket is taken by the listener that made it,
//! under the same rules and authorities for client certificates, no older than
//! its lifetime. Refuses: tickets over 16 KiB, and keys that were taken out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{Context, SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::server::ProducesTickets;

use super::client_auth::{Demand, Verifier};
use super::pair::{self, Print};

/// Most keys that may decrypt, and most files of a folder.
const KEYS_MAX: usize = 16;
/// Largest ticket: a session with a client's certificate chain.
const TICKET_MAX: usize = 16 * 1024;
/// How far clocks of replicas may be apart, seconds.
const SKEW: u64 = 300;

const ID: usize = 16;
const SEED: usize = 32;
const TIME: usize = 8;

/// The keys of one listener.
#[derive(Debug)]
pub(super) struct Keys {
    ring: ArcSwap<Ring>,
    source: Source,
    lifetime: Duration,
}

#[derive(Debug)]
enum Source {
    /// Made here, again after each lifetime.
    Own,
    /// From a file or a folder of files.
    Files(PathBuf),
}

/// The first one encrypts, all decrypt.
#[derive(Debug)]
struct Ring {
    keys: Vec<Key>,
    /// When the first one was made, seconds since 1970.
    made: u64,
    print: Print,
}

#[derive(Clone)]
struct Key {
    id: [u8; ID],
    secret: [u8; 32],
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    fn new(secret: [u8; 32]) -> Self {
        let name = digest(&SHA256, &secret);
        let mut id = [0; ID];
        id.copy_from_slice(name.as_ref().get(..ID).unwrap_or(&[0; ID]));
        Self { id, secret }
    }

    fn random() -> Option<Self> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).ok()?;
        Some(Self::new(secret))
    }

    /// A key for one ticket: no nonce is ever used twice, however many
    /// tickets are made.
    fn sealing(&self, seed: &[u8], scope: &Print) -> Option<LessSafeKey> {
        let derived = Salt::new(HKDF_SHA256, seed).extract(&self.secret);
        let info = [b"meridian session ticket".as_slice(), scope];
        let key = derived.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }
}

impl Keys {
    /// Keys of the process's own, made anew after `lifetime`.
    pub(super) fn own(lifetime: Duration) -> Result<Self, String> {
        let key = Key::random().ok_or("the machine gives no random bytes")?;
        Ok(Self {
            ring: ArcSwap::from_pointee(Ring {
                keys: vec![key],
                made: now(),
                print: [0; 32],
            }),
            source: Source::Own,
            lifetime,
        })
    }

    /// Keys from `path`.
    pub(super) fn shared(path: &Path, lifetime: Duration) -> Result<Self, String> {
        Ok(Self {
            ring: ArcSwap::from_pointee(ring_of(path)?),
            source: Source::Files(path.to_path_buf()),
            lifetime,
        })
    }

    /// Where the keys are read from.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::Own => None,
            Source::Files(path) => Some(path),
        }
    }

    /// Reads the files again; true when the keys are others.
    pub(super) fn renew(&self) -> Result<bool, String> {
        let Some(path) = self.path() else {
            return Ok(false);
        };
        let ring = ring_of(path)?;
        if ring.print == self.ring.load().print {
            return Ok(false);
        }
        self.ring.store(Arc::new(ring));
        Ok(true)
    }

    /// The keys at `now`; those of the process's own are replaced in time.
    fn at(&self, now: u64) -> Arc<Ring> {
        let ring = self.ring.load_full();
        let age = now.saturating_sub(ring.made);
        let life = self.lifetime.as_secs();
        match self.source {
            Source::Own if age >= life => {}
            Source::Own | Source::Files(_) => return ring,
        }
        let Some(key) = Key::random() else {
            return ring;
        };
        // What the last key sealed may still be young enough.
        let before = (age < 2 * life)
            .then(|| ring.keys.first().cloned())
            .flatten();
        let next = Arc::new(Ring {
            keys: [Some(key), before].into_iter().flatten().collect(),
            made: now,
            print: ring.print,
        });
        // Of two threads at once one wins.
        self.ring.rcu(|current| {
            if current.made == ring.made {
                Arc::clone(&next)
            } else {
                Arc::clone(current)
            }
        });
        self.ring.load_full()
    }

    fn seal(&self, plain: &[u8], scope: &Print, now: u64) -> Option<Vec<u8>> {
        let ring = self.at(now);
        let key = ring.keys.first()?;
        let mut seed = [0; SEED];
        SystemRandom::new().fill(&mut seed).ok()?;
        let mut text = Vec::with_capacity(TIME + plain.len() + AES_256_GCM.tag_len());
        text.extend_from_slice(&now.to_be_bytes());
        text.extend_from_slice(plain);
        let sealing = key.sealing(&seed, scope)?;
        sealing
            .seal_in_place_append_tag(nonce(), Aad::from(scope), &mut text)
            .ok()?;
        let ticket = [key.id.as_slice(), &seed, &text].concat();
        (ticket.len() <= TICKET_MAX).then_some(ticket)
    }

    fn open(&self, ticket: &[u8], scope: &Print, now: u64) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_MAX {
            return None;
        }
        let (id, rest) = ticket.split_at_checked(ID)?;
        let (seed, text) = rest.split_at_checked(SEED)?;
        let ring = self.at(now);
        let key = ring.keys.iter().find(|key| key.id == id)?;
        let mut text = text.to_vec();
        let sealing = key.sealing(seed, scope)?;
        let plain = sealing
            .open_in_place(nonce(), Aad::from(scope), &mut text)
            .ok()?;
        let (time, plain) = plain.split_at_checked(TIME)?;
        let made = u64::from_be_bytes(time.try_into().ok()?);
        let young =
            made <= now.saturating_add(SKEW) && now.saturating_sub(made) <= self.lifetime.as_secs();
        young.then(|| plain.to_vec())
    }
}

/// Each key seals one ticket.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Reads a file, or the files of a folder in the order of their names.
fn ring_of(path: &Path) -> Result<Ring, String> {
    let mut keys = Vec::new();
    let mut context = Context::new(&SHA256);
    for file in files(path)? {
        let bytes = pair::read(&file)?;
        context.update(&bytes);
        context.update(b"\n");
        let named = |fault: &str| format!("{}: {fault}", file.display());
        let text = std::str::from_utf8(&bytes).map_err(|_| named("is not text"))?;
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            keys.push(key(line).ok_or_else(|| {
                named("a line is no key; write 64 hexadecimal digits (openssl rand -hex 32)")
            })?);
        }
    }
    if keys.is_empty() {
        return Err(format!("{}: no key in it", path.display()));
    }
    if keys.len() > KEYS_MAX {
        return Err(format!("{}: more than {KEYS_MAX} keys", path.display()));
    }
    Ok(Ring {
        keys,
        made: now(),
        print: pair::print(context),
    })
}

fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    let named = |fault: std::io::Error| format!("{}: {fault}", path.display());
    if !std::fs::metadata(path).map_err(named)?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(named)? {
        let entry = entry.map_err(named)?;
        // Hidden files are editors' and mounts' own.
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && entry.path().is_file() {
            files.push(entry.path());
        }
        if files.len() > KEYS_MAX {
            return Err(format!("{}: more than {KEYS_MAX} files", path.display()));
        }
    }
    files.sort();
    Ok(files)
}

fn key(line: &str) -> Option<Key> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(line.as_bytes());
    let secret: [u8; 32] = bytes.ok()?.try_into().ok()?;
    Some(Key::new(secret))
}

/// The tickets of one listener under one set of rules about clients.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) keys: Arc<Keys>,
    /// The listener: its place and address in the settings.
    pub(super) listener: String,
    /// Whose judgement a resumed session repeats.
    pub(super) verifier: Option<Arc<Verifier>>,
}

impl Sealed {
    /// Equal for whoever may resume the same sessions.
    fn scope(&self) -> Print {
        let mut context = Context::new(&SHA256);
        context.update(self.listener.as_bytes());
        if let Some(verifier) = &self.verifier {
            context.update(match verifier.demand {
                Demand::Optional => b"\0optional",
                Demand::Required => b"\0required",
            });
            context.update(&verifier.print());
        }
        pair::print(context)
    }
}

impl ProducesTickets for Sealed {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.keys.lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.seal(plain, &self.scope(), now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.keys.open(cipher, &self.scope(), now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: Print = [7; 32];
    const HOUR: Duration = Duration::from_hours(1);

    fn file(lines: &[char]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(file.path(), lines);
        file
    }

    fn write(path: &Path, lines: &[char]) {
        let text: Vec<String> = lines.iter().map(|c| c.to_string().repeat(64)).collect();
        std::fs::write(path, format!("# newest first\n\n{}\n", text.join("\n"))).unwrap();
    }

    #[test]
    fn replicas_with_the_same_file_open_each_others_tickets_until_the_key_is_taken_out() {
        let file = file(&['a']);
        let one = Keys::shared(file.path(), HOUR).unwrap();
        let two = Keys::shared(file.path(), HOUR).unwrap();
        let ticket = one.seal(b"session", &SCOPE, 1_000).unwrap();
        assert_ne!(ticket, one.seal(b"session", &SCOPE, 1_000).unwrap());
        assert_eq!(two.open(&ticket, &SCOPE, 1_001).unwrap(), b"session");
        write(file.path(), &['b', 'A']);
        assert_eq!(two.renew(), Ok(true));
        assert_eq!(two.renew(), Ok(false));
        assert_eq!(two.open(&ticket, &SCOPE, 1_001).unwrap(), b"session");
        let newer = two.seal(b"x", &SCOPE, 1_000).unwrap();
        assert_eq!(one.open(&newer, &SCOPE, 1_000), None, "not yet there");
        write(file.path(), &['b']);
        two.renew().unwrap();
        assert_eq!(two.open(&ticket, &SCOPE, 1_001), None);
    }

    #[test]
    fn a_ticket_is_bound_to_its_scope_and_time_and_any_change_breaks_it() {
        let keys = Keys::own(HOUR).unwrap();
        let start = now();
        let ticket = keys.seal(b"session", &SCOPE, start).unwrap();
        assert!(keys.open(&ticket, &SCOPE, start).is_some());
        assert_eq!(keys.open(&ticket, &[8; 32], start), None);
        for at in 0..ticket.len() {
            let mut broken = ticket.clone();
            broken[at] ^= 1;
            assert_eq!(keys.open(&broken, &SCOPE, start), None, "{at}");
            assert_eq!(keys.open(&ticket[..at], &SCOPE, start), None, "{at}");
        }
        let future = keys.seal(b"session", &SCOPE, start + 400).unwrap();
        assert_eq!(keys.open(&future, &SCOPE, start), None);
        assert_eq!(keys.open(&vec![0; TICKET_MAX + 1], &SCOPE, start), None);
        assert_eq!(keys.seal(&[0; TICKET_MAX], &SCOPE, start), None);
    }

    #[test]
    fn own_keys_are_replaced_and_the_last_one_serves_out_its_time() {
        let keys = Keys::own(HOUR).unwrap();
        let start = now();
        let ticket = keys.seal(b"session", &SCOPE, start + 3_000).unwrap();
        assert!(keys.open(&ticket, &SCOPE, start + 3_700).is_some());
        let other = keys.seal(b"session", &SCOPE, start + 3_700).unwrap();
        assert_ne!(ticket[..ID], other[..ID], "sealed by a newer key");
        assert_eq!(keys.open(&ticket, &SCOPE, start + 6_601), None, "too old");
        let _ = keys.at(start + 20_000);
        assert_eq!(keys.ring.load().keys.len(), 1, "both older keys are gone");
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_names_and_bad_keys_are_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Keys::shared(folder.path(), HOUR).is_err());
        write(&folder.path().join("2"), &['b']);
        write(&folder.path().join("1"), &['a']);
        write(&folder.path().join(".3"), &['c']);
        let keys = Keys::shared(folder.path(), HOUR).unwrap();
        let alone = Keys::shared(&folder.path().join("1"), HOUR).unwrap();
        let ticket = keys.seal(b"s", &SCOPE, 9).unwrap();
        assert!(alone.open(&ticket, &SCOPE, 9).is_some());
        assert_eq!(keys.ring.load().keys.len(), 2);
        std::fs::write(folder.path().join("0"), "secret").unwrap();
        let fault = keys.renew().unwrap_err();
        assert!(
            fault.contains("no key") && !fault.contains("secret"),
            "{fault}"
        );
        assert!(
            keys.open(&ticket, &SCOPE, 9).is_some(),
            "the last good ones stay"
        );
    }
}
