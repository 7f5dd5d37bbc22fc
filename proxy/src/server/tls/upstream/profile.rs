//! Settings of TLS toward some endpoints, and the files behind them.
//!
//! Promises: authorities and certificate are taken each by itself, whole, and
//! only when they can be used; whoever connects gets what was good last.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use ring::digest::{Context, SHA256};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

use super::short;
use crate::server::tls::pair::{self, Pair, Print, Source, Standing};
use crate::server::tls::reload::{CertificateStatus, Change, TlsChange, believable, stands, tell};
use crate::settings::{TlsFiles, TlsVersion};

/// Most authorities of one file; a system's have some 150.
const AUTHORITIES_MAX: usize = 1_024;

/// What the settings name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Files {
    pub(super) ca: PathBuf,
    pub(super) client: Option<TlsFiles>,
    pub(super) floor: TlsVersion,
}

impl Files {
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let client = self.client.iter();
        let own = client.flat_map(|files| [files.cert.clone(), files.key.clone()]);
        std::iter::once(self.ca.clone()).chain(own).collect()
    }
}

/// A file that can't be used, and why.
type Fault = (PathBuf, String);

/// Settings with what was read for them.
pub(super) struct Profile {
    files: Files,
    provider: Arc<CryptoProvider>,
    terms: ArcSwap<Terms>,
    memory: Mutex<Memory>,
}

/// What new connections are made with.
pub(super) struct Terms {
    pub(super) config: Arc<ClientConfig>,
    pub(super) judge: Arc<WebPkiServerVerifier>,
    /// Tells these apart from all others.
    pub(super) print: u64,
    authorities: Arc<Authorities>,
    own: Option<Arc<Own>>,
}

struct Authorities {
    roots: Arc<RootCertStore>,
    print: Print,
}

/// The edge's own certificate.
struct Own {
    pair: Pair,
    print: Print,
}

/// What was tried last, so that it is told once.
struct Memory {
    authorities: Attempt,
    own: Attempt,
    standing: Standing,
}

#[derive(Default)]
struct Attempt {
    print: Option<Print>,
    fault: Option<String>,
}

impl Profile {
    /// Reads the files.
    pub(super) fn load(files: Files) -> Result<Self, Fault> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let authorities = pair::read(&files.ca).and_then(|bytes| authorities(&bytes));
        let authorities = authorities.map_err(|told| (files.ca.clone(), told))?;
        let own = files.client.as_ref().map(|client| {
            let source = Source::read(client);
            let own = source.and_then(|source| own(&source, &provider));
            own.map(Arc::new)
                .map_err(|told| (client.cert.clone(), told))
        });
        let terms = Terms::new(&files, &provider, (Arc::new(authorities), own.transpose()?));
        let terms = terms.map_err(|told| (files.ca.clone(), told))?;
        Ok(Self {
            files,
            provider,
            terms: ArcSwap::from_pointee(terms),
            memory: Mutex::new(Memory {
                authorities: Attempt::default(),
                own: Attempt::default(),
                standing: Standing::Good,
            }),
        })
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn terms(&self) -> Arc<Terms> {
        self.terms.load_full()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the files again; what is good and new is used from now on.
    pub(super) fn reload(&self, now: i64, changes: &mut Vec<TlsChange>) {
        let mut memory = self.memory();
        let before = self.terms();
        let mut authorities = Arc::clone(&before.authorities);
        let mut own = before.own.clone();
        let mut taken = Vec::new();
        if let Some(newer) = self.newer_authorities(&authorities, &mut memory, changes) {
            authorities = Arc::new(newer);
            taken.push(self.files.ca.clone());
        }
        if let (Some(files), Some(in_use)) = (&self.files.client, &before.own)
            && let Some(newer) = self.newer_own((files, in_use, now), &mut memory, changes)
        {
            own = Some(Arc::new(newer));
            taken.push(files.cert.clone());
        }
        if !taken.is_empty() {
            match Terms::new(&self.files, &self.provider, (authorities, own)) {
                Ok(terms) => {
                    self.terms.store(Arc::new(terms));
                    changes.extend(taken.into_iter().map(|path| TlsChange {
                        path,
                        change: Change::Taken,
                    }));
                }
                Err(told) => tell(&self.files.ca, told, &mut memory.authorities.fault, changes),
            }
        }
        self.note_standing(now, &mut memory, changes);
    }

    fn newer_authorities(
        &self,
        in_use: &Authorities,
        memory: &mut Memory,
        changes: &mut Vec<TlsChange>,
    ) -> Option<Authorities> {
        let last = &mut memory.authorities;
        let bytes = pair::read(&self.files.ca);
        let print = bytes.as_deref().ok().map(digest_of);
        if print.is_some() && (print == last.print || print == Some(in_use.print)) {
            if print == Some(in_use.print) {
                *last = Attempt::default();
            }
            return None;
        }
        last.print = print;
        match bytes.and_then(|bytes| authorities(&bytes)) {
            Ok(newer) => {
                last.fault = None;
                Some(newer)
            }
            Err(told) => {
                tell(&self.files.ca, told, &mut last.fault, changes);
                None
            }
        }
    }

    fn newer_own(
        &self,
        (files, in_use, now): (&TlsFiles, &Own, i64),
        memory: &mut Memory,
        changes: &mut Vec<TlsChange>,
    ) -> Option<Own> {
        let last = &mut memory.own;
        let source = Source::read(files);
        let print = source.as_ref().ok().map(Source::print);
        if print.is_some() && (print == last.print || print == Some(in_use.print)) {
            if print == Some(in_use.print) {
                *last = Attempt::default();
            }
            return None;
        }
        last.print = print;
        let newer = source.and_then(|source| own(&source, &self.provider));
        let believed = newer.and_then(|newer| {
            believable(newer.pair, &in_use.pair, now).map(|pair| Own {
                pair,
                print: newer.print,
            })
        });
        match believed {
            Ok(newer) => {
                last.fault = None;
                Some(newer)
            }
            Err(told) => {
                tell(&files.cert, told, &mut last.fault, changes);
                None
            }
        }
    }

    fn note_standing(&self, now: i64, memory: &mut Memory, changes: &mut Vec<TlsChange>) {
        let terms = self.terms();
        let (Some(own), Some(files)) = (&terms.own, &self.files.client) else {
            return;
        };
        let standing = own.pair.validity.standing(now);
        stands(&files.cert, standing, &mut memory.standing, changes);
    }

    /// How the edge's own certificate stands.
    pub(super) fn status(&self, now: i64) -> Option<CertificateStatus> {
        let memory = self.memory();
        let terms = self.terms();
        let (own, files) = (terms.own.as_ref()?, self.files.client.as_ref()?);
        let faults = [&memory.own.fault, &memory.authorities.fault];
        Some(CertificateStatus {
            certificate: files.cert.display().to_string(),
            left: own.pair.validity.until.saturating_sub(now),
            standing: own.pair.validity.standing(now).as_str(),
            fault: faults.into_iter().flatten().next().cloned(),
        })
    }
}

impl Terms {
    fn new(
        files: &Files,
        provider: &Arc<CryptoProvider>,
        (authorities, own): (Arc<Authorities>, Option<Arc<Own>>),
    ) -> Result<Self, String> {
        let versions: &[_] = match files.floor {
            TlsVersion::V12 => &[&TLS13, &TLS12],
            TlsVersion::V13 => &[&TLS13],
        };
        let roots = Arc::clone(&authorities.roots);
        let judge = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
            .build()
            .map_err(|fault| fault.to_string())?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions)
            .map_err(|fault| fault.to_string())?
            .with_webpki_verifier(Arc::clone(&judge));
        let mut config = match &own {
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
                own.pair.key.as_ref().clone(),
            ))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut context = Context::new(&SHA256);
        context.update(&authorities.print);
        context.update(own.as_ref().map_or(&[0; 32], |own| &own.print));
        context.update(match files.floor {
            TlsVersion::V12 => b"1.2",
            TlsVersion::V13 => b"1.3",
        });
        Ok(Self {
            config: Arc::new(config),
            judge,
            print: short(&pair::print(context)),
            authorities,
            own,
        })
    }
}

fn authorities(bytes: &[u8]) -> Result<Authorities, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let certificate = certificate.map_err(|fault| format!("no PEM: {fault}"))?;
        if roots.len() == AUTHORITIES_MAX {
            return Err(format!("more than {AUTHORITIES_MAX} authorities"));
        }
        roots
            .add(certificate)
            .map_err(|fault| format!("an authority can't be used: {fault}"))?;
    }
    if roots.is_empty() {
        return Err("no authority in it".to_owned());
    }
    Ok(Authorities {
        roots: Arc::new(roots),
        print: digest_of(bytes),
    })
}

fn own(source: &Source, provider: &CryptoProvider) -> Result<Own, String> {
    Ok(Own {
        pair: source.pair(provider)?,
        print: source.print(),
    })
}

fn digest_of(bytes: &[u8]) -> Print {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    pair::print(context)
}
