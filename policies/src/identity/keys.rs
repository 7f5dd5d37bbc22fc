//! Keys of an issuer, from a JWK set (RFC 7517, RFC 8037).
//!
//! Promises: an algorithm is used only with a key of its own kind, so that a
//! public key is never taken for a shared secret. Refuses: secrets and private
//! keys, RSA below 2,048 bits, two keys of one name.

use data_encoding::BASE64URL_NOPAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::{Map, Value};

use super::json;

/// Most keys of a set.
const KEYS_MAX: usize = 64;
/// Largest set, bytes: 256 KiB.
const SET_MAX: usize = 256 * 1024;
/// Bytes of an RSA modulus: 2,048 to 8,192 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1_024;

/// Signature algorithms (RFC 7518, RFC 8037). There is no `none` and no HMAC.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    pub(super) const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// By the exact name; `Ed25519` (RFC 9864) is the `EdDSA` of the one curve
    /// that there is here.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

/// One public key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) kid: Option<String>,
    /// The one algorithm that the set allows it for.
    only: Option<Algorithm>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Key {
    /// Whether the algorithm is one of this kind of key, and the set does not
    /// say otherwise.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => matches!(self.material, Material::Rsa { .. }),
            Algorithm::Es256 => matches!(self.material, Material::P256(_)),
            Algorithm::Es384 => matches!(self.material, Material::P384(_)),
            Algorithm::EdDsa => matches!(self.material, Material::Ed25519(_)),
        };
        kind && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether this key has signed the message; false for an algorithm that
    /// does not fit.
    pub(super) fn verifies(&self, algorithm: Algorithm, (message, sign): (&[u8], &[u8])) -> bool {
        let plain = |with: &'static dyn VerificationAlgorithm, point: &[u8]| {
            UnparsedPublicKey::new(with, point)
                .verify(message, sign)
                .is_ok()
        };
        if !self.fits(algorithm) {
            return false;
        }
        match &self.material {
            Material::P256(point) => plain(&signature::ECDSA_P256_SHA256_FIXED, point),
            Material::P384(point) => plain(&signature::ECDSA_P384_SHA384_FIXED, point),
            Material::Ed25519(point) => plain(&signature::ED25519, point),
            Material::Rsa { n, e } => {
                let with = match algorithm {
                    Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
                    Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
                    Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return false,
                };
                RsaPublicKeyComponents { n, e }
                    .verify(with, message, sign)
                    .is_ok()
            }
        }
    }
}

/// The keys of a set that verify signatures. Keys of kinds that are not known,
/// and keys for encryption, are passed over, as RFC 7517 asks for.
///
/// # Errors
/// What is wrong with it, one sentence.
pub(super) fn read(text: &str) -> Result<Vec<Key>, String> {
    if text.len() > SET_MAX {
        return Err(format!("a key set of over {SET_MAX} bytes"));
    }
    let set = json::object(text.as_bytes())
        .ok_or("this is no key set: it has to be a JSON object without a name twice")?;
    let Some(Value::Array(list)) = set.get("keys") else {
        return Err("this is no key set: there is no list `keys`".to_owned());
    };
    if list.len() > KEYS_MAX {
        return Err(format!("over {KEYS_MAX} keys in a set"));
    }
    let mut keys: Vec<Key> = Vec::new();
    for (at, one) in list.iter().enumerate() {
        let key = key(one).map_err(|why| format!("key {}: {why}", at + 1))?;
        let Some(key) = key else {
            continue;
        };
        if let Some(kid) = &key.kid
            && keys.iter().any(|other| other.kid.as_ref() == Some(kid))
        {
            return Err(format!("two keys have the `kid` `{kid}`"));
        }
        keys.push(key);
    }
    if keys.is_empty() {
        return Err("no key in this set verifies signatures".to_owned());
    }
    Ok(keys)
}

/// One key; `None`: not of use here.
fn key(value: &Value) -> Result<Option<Key>, String> {
    let Value::Object(members) = value else {
        return Err("not an object".to_owned());
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    if ["d", "p", "q", "k"]
        .iter()
        .any(|name| members.contains_key(*name))
        || text("kty") == Some("oct")
    {
        return Err("a secret or private key: this file is for public keys alone".to_owned());
    }
    let for_signatures = text("use").is_none_or(|what| what == "sig")
        && match members.get("key_ops") {
            Some(Value::Array(list)) => list.iter().any(|op| op == "verify"),
            Some(_) => return Err("`key_ops` is no list".to_owned()),
            None => true,
        };
    let Some(material) = material(members)? else {
        return Ok(None);
    };
    let only = match text("alg") {
        None => None,
        Some(name) => match Algorithm::parse(name) {
            Some(algorithm) => Some(algorithm),
            None => return Ok(None),
        },
    };
    Ok(for_signatures.then(|| Key {
        kid: text("kid").map(str::to_owned),
        only,
        material,
    }))
}

fn material(members: &Map<String, Value>) -> Result<Option<Material>, String> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let bytes = |name: &str| -> Result<Vec<u8>, String> {
        let text = text(name).ok_or_else(|| format!("there is no `{name}`"))?;
        let read = BASE64URL_NOPAD.decode(text.as_bytes());
        read.map_err(|_| format!("`{name}` is not base64url"))
    };
    let point = |size: usize| -> Result<Vec<u8>, String> {
        let (x, y) = (bytes("x")?, bytes("y")?);
        if x.len() != size || y.len() != size {
            return Err(format!("`x` and `y` have to be of {size} bytes"));
        }
        Ok([&[4], x.as_slice(), y.as_slice()].concat())
    };
    Ok(match (text("kty"), text("crv")) {
        (Some("RSA"), _) => Some(rsa(&bytes("n")?, &bytes("e")?)?),
        (Some("EC"), Some("P-256")) => Some(Material::P256(point(32)?)),
        (Some("EC"), Some("P-384")) => Some(Material::P384(point(48)?)),
        (Some("OKP"), Some("Ed25519")) => {
            let x = bytes("x")?;
            if x.len() != 32 {
                return Err("`x` has to be of 32 bytes".to_owned());
            }
            Some(Material::Ed25519(x))
        }
        (Some(_), _) => None,
        (None, _) => return Err("there is no `kty`".to_owned()),
    })
}

fn rsa(n: &[u8], e: &[u8]) -> Result<Material, String> {
    let trimmed = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.get(zeros..).unwrap_or_default().to_vec()
    };
    let (n, e) = (trimmed(n), trimmed(e));
    if !MODULUS.contains(&n.len()) || n.first().is_none_or(|top| *top < 0x80) && n.len() == 256 {
        return Err("an RSA key of fewer than 2048 or more than 8192 bits".to_owned());
    }
    let odd = e.last().is_some_and(|last| last & 1 == 1);
    if !odd || e.len() > 4 || e == [1] {
        return Err("an RSA exponent that is not odd, or not from 3 to 2^32".to_owned());
    }
    Ok(Material::Rsa { n, e })
}
