//! A process that may open few files, and more clients than that.

use std::io::Read as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::edge::{Files, Process, answer, backend, connect};
use crate::support::until;

const FILES: usize = 256;
const CLIENTS: usize = 600;

/// The same command below a lower limit.
fn limited(command: &mut Command) {
    let mut below = Command::new("sh");
    below.args(["-c", &format!("ulimit -n {FILES}; exec \"$@\""), "sh"]);
    below.arg(command.get_program()).args(command.get_args());
    *command = below;
}

/// Processor time of a process, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit(") ").next().unwrap().split(' ');
    fields
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum()
}

/// True when the edge has closed it.
fn closed(stream: &TcpStream) -> bool {
    let mut byte = [0; 1];
    match stream.peek(&mut byte) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

#[test]
fn more_clients_than_descriptors_are_refused_and_cost_nothing() {
    let files = Files::new(backend(), "timeouts: { head: 60s }\n");
    let edge = Process::start_with(files, limited);
    let pid = edge.child.id();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let stream = connect(edge.plain);
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    let room = (FILES - 128) / 2;
    let held = until("the others are closed", || {
        let held = clients.iter().filter(|stream| !closed(stream)).count();
        (held <= room).then_some(held)
    });
    assert!(held >= room / 2, "{held} of {room}");
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count();
    assert!(open < FILES - 32, "{open} of {FILES} are in use");
    // Full, it waits: it does not spin.
    let before = ticks(pid);
    std::thread::park_timeout(Duration::from_secs(1));
    let used = ticks(pid) - before;
    assert!(used < 20, "{used} hundredths of a second");
    drop(clients);
    until("20 of 20 are served again", || {
        (0..20)
            .all(|_| {
                let Ok(mut stream) = TcpStream::connect(edge.plain) else {
                    return false;
                };
                stream
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .unwrap();
                let get = b"GET / HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n";
                let sent = std::io::Write::write_all(&mut stream, get);
                let told = sent.ok().and_then(|()| answer(&mut stream));
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest);
                told.is_some_and(|told| told.ends_with("\r\nok"))
            })
            .then_some(())
    });
    assert!(edge.files.stderr().contains("limits.connections lowered"));
}
