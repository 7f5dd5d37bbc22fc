//! What an endpoint promises its clients.

use std::sync::Arc;
use std::time::Duration;

use quinn::{EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};

use super::by_host::ByHost;
use super::cid::{Cids, Generator, Identity};
use crate::engine::connection::{CONNECTION_WINDOW, STREAM_WINDOW, STREAMS_MAX};

/// Streams that a client may open toward the edge beside its requests: the
/// control stream, two of QPACK, and what it greases with.
const UNI_STREAMS_MAX: u32 = 8;
/// What was sent and is not acknowledged yet, a connection.
const SEND_WINDOW: u64 = 1024 * 1024;
/// Handshakes that wait for the accepting task of one thread.
const INCOMING_MAX: usize = 1_024;
/// What one of them, and all of them, may have sent until then.
const INCOMING_BYTES: u64 = 16 * 1024;
const INCOMING_BYTES_ALL: u64 = 4 * 1024 * 1024;

/// How an endpoint on `thread` names its connections.
pub(super) fn endpoint(identity: &Identity, cids: &Arc<Cids>, thread: u8) -> EndpointConfig {
    let mut config = EndpointConfig::new(identity.reset_key());
    let cids = Arc::clone(cids);
    config.cid_generator(move || {
        Box::new(Generator {
            cids: Arc::clone(&cids),
            thread,
        })
    });
    config
}

/// How its connections behave. `idle` is the time after which a client that
/// says nothing is given up; one with an open request is asked before that.
pub(super) fn server(tls: Arc<ByHost>, identity: &Identity, idle: Duration) -> ServerConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(IdleTimeout::try_from(idle).ok())
        .keep_alive_interval(Some(idle / 3))
        .datagram_receive_buffer_size(None);
    let mut config = ServerConfig::new(tls, identity.token_key());
    config
        .transport_config(Arc::new(transport))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES_ALL);
    config
}
