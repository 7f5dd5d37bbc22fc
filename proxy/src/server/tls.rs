//! TLS of the listeners: certificates by host name, and who may resume what.
//! Toward endpoints: `upstream`.
//!
//! Promises: certificates, authorities and ticket keys are read again while
//! running, and new handshakes see the new ones at once; what can't be used is
//! told and its predecessor stays. Refuses: early data, and a configuration of
//! which any file can't be used at the start.

mod client_auth;
mod connection;
mod key_log;
mod names;
mod pair;
mod reload;
mod resolver;
mod tickets;
mod upstream;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use meridian_policies::{Diagnostic, Tick};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoClientAuth, NoServerSessionStorage, ResolvesServerCert};
use rustls::version::{TLS12, TLS13};

use self::client_auth::{Demand, Verifier};
pub use self::connection::{ConnectionTls, Unusable};
pub use self::key_log::KeyLogFile;
use self::pair::{Print, Source};
use self::reload::Tried;
pub use self::reload::{CertificateStatus, Change, TlsChange};
use self::resolver::{Conflict, Entry, Resolver, Table};
use self::tickets::{Keys, Sealed};
pub use self::upstream::{Secured, Upstreams, Verified, refused_afterwards};
use super::rate::Rate;
use crate::settings::{
    ClientAuth, Listener, Protocols, Settings, Switch, Tickets, TlsSettings, TlsVersion, unreadable,
};

/// TLS of all listeners.
pub struct Tls {
    listeners: Vec<Option<Arc<ListenerTls>>>,
    reloads: reload::Log,
    rate: Rate,
    key_log: Option<Arc<KeyLogFile>>,
}

impl Tls {
    /// Reads everything that the listeners need; one fault a file.
    pub fn load(settings: &Settings) -> Result<Self, Vec<Diagnostic>> {
        Self::load_with(settings, None)
    }

    /// The same; the secrets of all sessions go to `key_log`.
    pub fn load_with(
        settings: &Settings,
        key_log: Option<Arc<KeyLogFile>>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let (mut listeners, mut faults) = (Vec::new(), Vec::new());
        for (number, listener) in settings.listeners.iter().enumerate() {
            let Some(tls) = &listener.tls else {
                listeners.push(None);
                continue;
            };
            match ListenerTls::load((number, listener), tls, key_log.as_ref()) {
                Ok(tls) => listeners.push(Some(Arc::new(tls))),
                Err(fault) => faults.push(unreadable(&fault.path, &fault.told)),
            }
        }
        if faults.is_empty() {
            let limits = &settings.limits;
            let total = limits.handshakes_per_second;
            let each = limits.handshakes_per_second_per_address;
            Ok(Self {
                listeners,
                reloads: reload::Log::default(),
                rate: Rate::new(total, each),
                key_log,
            })
        } else {
            Err(faults)
        }
    }

    /// Whether one more handshake may begin, over TCP or QUIC. `client` is an
    /// address, or the network that stands for one client.
    pub fn admits(&self, client: IpAddr, now: Tick) -> bool {
        self.rate.admits(client, now)
    }

    /// Whether there is any bound on the rate of handshakes.
    pub fn has_rate(&self) -> bool {
        self.rate.is_some()
    }

    /// Where the secrets of sessions are written.
    pub fn key_log(&self) -> Option<&Path> {
        self.key_log.as_deref().map(KeyLogFile::path)
    }

    /// Of the listener with this number in the settings; `None`: plain text.
    pub fn listener(&self, number: usize) -> Option<&Arc<ListenerTls>> {
        self.listeners.get(number)?.as_ref()
    }
}

/// A file that can't be used.
struct Fault {
    path: PathBuf,
    told: String,
}

impl Fault {
    fn of(path: &Path, told: impl Into<String>) -> Self {
        Self {
            path: path.to_path_buf(),
            told: told.into(),
        }
    }
}

/// TLS of one listener.
pub struct ListenerTls {
    settings: TlsSettings,
    provider: Arc<CryptoProvider>,
    table: Arc<ArcSwap<Table>>,
    /// The listener's own rules about client certificates, then those of hosts
    /// that differ.
    groups: Vec<Group>,
    keys: Option<Arc<Keys>>,
    tried: Tried,
}

/// Hosts with the same rules about client certificates.
struct Group {
    verifier: Option<Arc<Verifier>>,
    tcp: Arc<ServerConfig>,
    quic: Arc<ServerConfig>,
}

impl ListenerTls {
    fn load(
        (number, listener): (usize, &Listener),
        tls: &TlsSettings,
        key_log: Option<&Arc<KeyLogFile>>,
    ) -> Result<Self, Fault> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let keys = keys(&tls.tickets)?;
        let mut rules: Vec<&ClientAuth> = vec![&tls.client_auth];
        let (mut entries, mut prints): (Vec<Entry>, Vec<Print>) = (Vec::new(), Vec::new());
        for files in &tls.certificates {
            let auth = files.client_auth.as_ref().unwrap_or(&tls.client_auth);
            let group = rules.iter().position(|rule| *rule == auth);
            let group = group.unwrap_or_else(|| {
                rules.push(auth);
                rules.len() - 1
            });
            let fault = |told| Fault::of(&files.cert, told);
            let source = Source::read(files).map_err(fault)?;
            let pair = Arc::new(source.pair(&provider).map_err(fault)?);
            prints.push(source.print());
            entries.push(Entry {
                pair,
                names: files.names.clone(),
                group,
            });
        }
        let table = Table::new(entries);
        if let Some(conflict) = table.conflict() {
            return Err(Fault::of(tls.cert(conflict.between.1), tls.told(&conflict)));
        }
        let table = Arc::new(ArcSwap::from_pointee(table));
        let build = Build {
            provider: &provider,
            table: &table,
            keys: keys.as_ref(),
            listener: format!("{number} {}", listener.address),
            protocols: listener.protocols,
            floor: tls.min_version,
            key_log,
        };
        let groups = rules.iter().enumerate();
        let groups = groups
            .map(|(at, auth)| build.group(at, auth))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            settings: tls.clone(),
            provider,
            table,
            groups,
            keys,
            tried: Tried::new(prints),
        })
    }

    /// The configuration for a client that has said hello over TCP.
    pub(super) fn tcp_config(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let table = self.table.load();
        let group = table.group(table.choose(hello.server_name()));
        self.groups.get(group).map(|group| Arc::clone(&group.tcp))
    }

    /// The configurations for QUIC: TLS 1.3, `h3`, no early data. They follow
    /// reloads by themselves, so one endpoint keeps them for its whole life.
    /// The first one is the listener's own; [`ListenerTls::quic_config_of`]
    /// says which one a client gets.
    pub(super) fn quic_configs(&self) -> impl Iterator<Item = &Arc<ServerConfig>> {
        self.groups.iter().map(|group| &group.quic)
    }

    /// Number of the configuration for a client that has said hello over QUIC.
    pub(super) fn quic_config_of(&self, hello: &ClientHello<'_>) -> usize {
        let table = self.table.load();
        table.group(table.choose(hello.server_name()))
    }
}

impl TlsSettings {
    fn cert(&self, at: usize) -> &Path {
        let files = self.certificates.get(at);
        files.map_or(Path::new(""), |files| files.cert.as_path())
    }

    fn told(&self, conflict: &Conflict) -> String {
        let (first, second) = conflict.between;
        format!(
            "`{}` is a name of {} and of {}, under different rules about client certificates: give \
             both the same client_auth, or other names",
            conflict.name,
            self.cert(first).display(),
            self.cert(second).display()
        )
    }
}

fn keys(tickets: &Tickets) -> Result<Option<Arc<Keys>>, Fault> {
    let keys = match tickets {
        Tickets::Off => return Ok(None),
        Tickets::On { keys: None, rotate } => {
            Keys::own(*rotate).map_err(|told| Fault::of("session_tickets".as_ref(), told))
        }
        Tickets::On {
            keys: Some(path),
            rotate,
        } => Keys::shared(path, *rotate).map_err(|told| Fault::of(path, told)),
    };
    keys.map(|keys| Some(Arc::new(keys)))
}

/// What the configurations of a listener have in common.
struct Build<'a> {
    provider: &'a Arc<CryptoProvider>,
    table: &'a Arc<ArcSwap<Table>>,
    keys: Option<&'a Arc<Keys>>,
    listener: String,
    protocols: Protocols,
    floor: TlsVersion,
    key_log: Option<&'a Arc<KeyLogFile>>,
}

impl Build<'_> {
    fn group(&self, at: usize, auth: &ClientAuth) -> Result<Group, Fault> {
        let demand = match auth {
            ClientAuth::Off => None,
            ClientAuth::Optional { ca } => Some((ca, Demand::Optional)),
            ClientAuth::Required { ca } => Some((ca, Demand::Required)),
        };
        let verifier = demand.map(|(ca, demand)| {
            Verifier::new(ca.clone(), demand, self.provider)
                .map(Arc::new)
                .map_err(|told| Fault::of(ca, told))
        });
        let verifier = verifier.transpose()?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::new(Resolver {
            table: Arc::clone(self.table),
            group: at,
        });
        let mut tcp = Vec::new();
        if self.protocols.h2 == Switch::On {
            tcp.push(b"h2".to_vec());
        }
        if self.protocols.h1 == Switch::On {
            tcp.push(b"http/1.1".to_vec());
        }
        let make = |floor, alpn, carrier| {
            let mut config = self.config(floor, verifier.as_ref(), &resolver)?;
            config.alpn_protocols = alpn;
            self.resumption(&mut config, verifier.as_ref(), carrier);
            Ok(Arc::new(config))
        };
        let tcp = make(self.floor, tcp, "tcp")?;
        let quic = make(TlsVersion::V13, vec![b"h3".to_vec()], "quic")?;
        Ok(Group {
            verifier,
            tcp,
            quic,
        })
    }

    fn config(
        &self,
        floor: TlsVersion,
        verifier: Option<&Arc<Verifier>>,
        resolver: &Arc<dyn ResolvesServerCert>,
    ) -> Result<ServerConfig, Fault> {
        let versions: &[_] = match floor {
            TlsVersion::V12 => &[&TLS13, &TLS12],
            TlsVersion::V13 => &[&TLS13],
        };
        let judge: Arc<dyn ClientCertVerifier> = match verifier {
            Some(verifier) => verifier.clone(),
            None => Arc::new(NoClientAuth),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(self.provider))
            .with_protocol_versions(versions)
            .map_err(|fault| Fault::of("tls".as_ref(), fault.to_string()))?
            .with_client_cert_verifier(judge)
            .with_cert_resolver(Arc::clone(resolver));
        config.max_early_data_size = 0;
        config.send_half_rtt_data = false;
        // What rustls does without it: nothing is logged, whatever the environment says.
        if let Some(key_log) = self.key_log {
            config.key_log = Arc::<KeyLogFile>::clone(key_log);
        }
        Ok(config)
    }

    /// Tickets or nothing: no state of the process.
    fn resumption(
        &self,
        config: &mut ServerConfig,
        verifier: Option<&Arc<Verifier>>,
        carrier: &str,
    ) {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match self.keys {
            None => config.send_tls13_tickets = 0,
            Some(keys) => {
                config.ticketer = Arc::new(Sealed {
                    keys: Arc::clone(keys),
                    listener: format!("{} {carrier}", self.listener),
                    verifier: verifier.cloned(),
                });
            }
        }
    }
}
