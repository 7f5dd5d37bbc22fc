//! From the file as written to what it means: defaults and paths. Cannot
//! fail; `raw` refused what would.

mod tls;

use std::path::Path;
use std::time::Duration;

use meridian_policies::yaml::Span;
use meridian_wire::HeadLimits;

use super::raw::{self, AdminAddress, Protocol};
use super::recording;
use super::references::{Surroundings, beside, folder};
use super::values::{Filled, OnOff, Positive};
use crate::telemetry::audit::AuditSettings;

use super::{
    AccessLog, AdminBind, AdminSettings, GeoSettings, Http2, Listener, ProcessLimits, Protocols,
    SampleRule, Secret, Settings, StaleGeo, Switch, TelemetrySettings, Timeouts, UpgradeSettings,
};

pub(super) fn settings(raw: raw::File, path: &Path, around: &Surroundings<'_>) -> Settings {
    let base = folder(path);
    Settings {
        path: path.to_path_buf(),
        edge_region: raw.edge.region.0,
        threads: threads(raw.threads.0, around.cores),
        listeners: raw
            .listeners
            .0
            .into_iter()
            .map(|listener| listen(listener, base))
            .collect(),
        trusted_hops: raw.trusted_hops.0.into_iter().map(|net| net.0).collect(),
        admin: admin(raw.admin, base),
        policies: beside(base, &raw.policies.0),
        state_file: raw.state.map(|path| beside(base, &path.0)),
        geo: geo(&raw.geo, base),
        telemetry: TelemetrySettings {
            recording: raw.recording.map(|raw| recording::compile(raw, base)),
            ..telemetry(raw.telemetry, base)
        },
        limits: limits(&raw.limits),
        timeouts: timeouts(&raw.timeouts),
        http2: http2(&raw.http2),
        upgrade: raw.upgrade.map(|upgrade| UpgradeSettings {
            socket: beside(base, &upgrade.socket.0),
            patience: upgrade.patience.map_or(Duration::from_mins(1), |p| p.0),
        }),
        pid_file: raw.pid.map(|Filled(path)| beside(base, &path)),
    }
}

/// 0 means one a core.
fn threads(asked: u64, cores: usize) -> usize {
    match usize::try_from(asked) {
        Ok(0) | Err(_) => cores.clamp(1, 256),
        Ok(threads) => threads,
    }
}

fn listen(listener: raw::Listener, base: &Path) -> Listener {
    let offers = |protocol| {
        if listener.protocols.contains(&protocol) {
            Switch::On
        } else {
            Switch::Off
        }
    };
    Listener {
        address: listener.address,
        protocols: Protocols {
            h1: offers(Protocol::H1),
            h2: offers(Protocol::H2),
            h3: offers(Protocol::H3),
        },
        proxy_protocol: listener
            .proxy_protocol
            .map(|carriers| carriers.from.0.0.into_iter().map(|net| net.0).collect()),
        h3_port: listener.h3_port.and_then(|port| u16::try_from(port.0).ok()),
        tls: listener.tls.map(|tls| tls::settings(tls, base)),
    }
}

fn admin(admin: raw::Admin, base: &Path) -> Option<AdminSettings> {
    let bind = match admin.bind {
        AdminAddress::Off => return None,
        AdminAddress::Tcp(address) => AdminBind::Tcp(address),
        AdminAddress::Unix(path) => AdminBind::Unix(beside(base, &path)),
    };
    Some(AdminSettings {
        bind,
        token: admin.token.map(Secret),
    })
}

fn geo(geo: &raw::Geo, base: &Path) -> GeoSettings {
    GeoSettings {
        embedded: switch(geo.embedded),
        databases: geo
            .databases
            .0
            .iter()
            .map(|Filled(path)| beside(base, path))
            .collect(),
        max_age: geo.max_age.0,
        stale: match geo.stale {
            raw::Stale::Warn => StaleGeo::Warn,
            raw::Stale::Unknown => StaleGeo::Unknown,
        },
    }
}

fn switch(written: OnOff) -> Switch {
    match written {
        OnOff::On => Switch::On,
        OnOff::Off => Switch::Off,
    }
}

fn telemetry(telemetry: raw::Telemetry, base: &Path) -> TelemetrySettings {
    TelemetrySettings {
        access_log: match telemetry.access_log.0.as_str() {
            "off" => AccessLog::Off,
            "stdout" => AccessLog::Stdout,
            path => AccessLog::File(beside(base, path)),
        },
        sample: telemetry.sample.0.into_iter().map(sample).collect(),
        receipts: size(telemetry.receipts.0),
        metrics: switch(telemetry.metrics),
        recording: None,
        audit: telemetry.audit.map(|log| audit(&log, base)),
    }
}

fn audit(raw: &raw::Audit, base: &Path) -> AuditSettings {
    AuditSettings {
        path: beside(base, &raw.path),
        mode: raw.mode,
        refusals: raw.refusals,
        transfers_from: raw.transfers_from,
        rotate_size: raw.rotate_size,
        keep: raw.keep,
        fsync: raw.fsync,
        on_failure: raw.on_failure,
    }
}

fn sample(rule: raw::Sample) -> SampleRule {
    SampleRule {
        status_from: rule.status.0,
        status_to: rule.status.1,
        path_prefix: rule.path.map(|Filled(path)| path),
        one_in: rule.one_in,
    }
}

/// The raw bounds keep every number far below `usize` on 64 bits.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn limits(raw: &raw::Limits) -> ProcessLimits {
    let plain = ProcessLimits::default();
    let head = plain.head;
    ProcessLimits {
        connections: raw.connections.map_or(plain.connections, |n| size(n.0)),
        connections_per_address: raw
            .connections_per_address
            .map_or(plain.connections_per_address, |n| size(n.0)),
        quic_handshakes: raw
            .quic_handshakes
            .map_or(plain.quic_handshakes, |n| size(n.0)),
        head: HeadLimits {
            head_bytes: raw.head_bytes.map_or(head.head_bytes, |n| size(n.0)),
            fields: raw.head_fields.map_or(head.fields, |n| size(n.0)),
            target_bytes: raw.target_bytes.map_or(head.target_bytes, |n| size(n.0)),
        },
        requests_per_connection: raw.requests_per_connection,
        connections_per_second: raw.connections_per_second,
        connections_per_second_per_address: raw.connections_per_second_per_address,
        handshakes_per_second: raw.handshakes_per_second,
        handshakes_per_second_per_address: raw.handshakes_per_second_per_address,
        buffered_body: raw.buffered_body.map_or(plain.buffered_body, |n| size(n.0)),
    }
}

/// The raw bounds lie within 32 bits.
fn http2(raw: &raw::Http2) -> Http2 {
    let plain = Http2::default();
    let or = |written: Option<u64>, default| {
        written.map_or(default, |number| u32::try_from(number).unwrap_or(default))
    };
    Http2 {
        streams: or(raw.streams, plain.streams),
        stream_window: or(raw.stream_window, plain.stream_window),
        connection_window: or(raw.connection_window, plain.connection_window),
    }
}

fn timeouts(raw: &raw::Timeouts) -> Timeouts {
    let plain = Timeouts::default();
    let or = |written: Option<Positive>, default| written.map_or(default, |Positive(d)| d);
    Timeouts {
        handshake: or(raw.handshake, plain.handshake),
        head: or(raw.head, plain.head),
        body_grace: or(raw.body_grace, plain.body_grace),
        body_rate: raw.body_rate.map_or(plain.body_rate, |rate| rate.0),
        idle: or(raw.idle, plain.idle),
        connection_lifetime: raw
            .connection_lifetime
            .map(|Positive(d)| d)
            .or(plain.connection_lifetime),
        connect: or(raw.connect, plain.connect),
        first_byte: or(raw.first_byte, plain.first_byte),
        total: raw.total.map(|Positive(d)| d).or(plain.total),
        drain_delay: raw.drain_delay.map_or(plain.drain_delay, |Span(d)| d),
        drain: or(raw.drain, plain.drain),
        websocket_drain: raw.websocket_drain.map(|Span(d)| d),
        upstream_idle: or(raw.upstream_idle, plain.upstream_idle),
    }
}

#[cfg(test)]
mod tests;
