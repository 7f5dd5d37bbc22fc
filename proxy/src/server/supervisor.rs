//! What a supervisor is told: systemd's notifications and a pid file.
//!
//! Promises: both name the process that owns the sockets, also after a
//! hand-over; a supervisor that does not listen changes nothing.

use std::fs;
use std::io::{self, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use serde_json::json;

use crate::pipeline::events::notice;

/// This process owns the sockets and serves.
pub(super) fn serves(pid_file: Option<&Path>) {
    let pid = std::process::id();
    notify(&format!("READY=1\nMAINPID={pid}"));
    if let Some(path) = pid_file
        && let Err(error) = write_pid(path, pid)
    {
        let what = json!({ "path": path, "error": error.to_string() });
        notice("ERROR", "the pid file can't be written", &what);
    }
}

/// This process goes, and no other is in its place.
pub(super) fn stops() {
    notify("STOPPING=1");
}

/// Removes the pid file, if it still names this process.
pub(super) fn gone(pid_file: Option<&Path>) {
    let Some(path) = pid_file else { return };
    let own = std::process::id().to_string();
    if fs::read_to_string(path).is_ok_and(|text| text.trim() == own) {
        let _ = fs::remove_file(path);
    }
}

/// Readers see the old number or the new one, never half of it.
fn write_pid(path: &Path, pid: u32) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{pid}"));
    let mut file = fs::File::create(&new)?;
    writeln!(file, "{pid}")?;
    fs::rename(&new, path)
}

/// One datagram to `$NOTIFY_SOCKET`, as `sd_notify(3)` describes it.
fn notify(state: &str) {
    if let Some(name) = std::env::var_os("NOTIFY_SOCKET") {
        let _ = send(name.as_bytes(), state);
    }
}

fn send(name: &[u8], state: &str) -> io::Result<()> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_hears_by_file_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notify");
        let by_file = UnixDatagram::bind(&file).unwrap();
        send(file.as_os_str().as_bytes(), "READY=1").unwrap();
        let name = format!("meridian-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        send(format!("@{name}").as_bytes(), "READY=1").unwrap();
        for socket in [by_file, by_name] {
            let mut heard = [0; 16];
            assert_eq!(socket.recv(&mut heard).unwrap(), 7);
            assert!(heard.starts_with(b"READY=1"));
        }
    }

    #[test]
    fn the_pid_file_of_a_successor_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        write_pid(&path, std::process::id()).unwrap();
        gone(Some(&path));
        assert!(!path.exists());
        write_pid(&path, 1).unwrap();
        gone(Some(&path));
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }
}
