use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;

const SOON: Duration = Duration::from_secs(20);

/// Remembers what it was given; answers what it is told to.
#[derive(Clone, Default)]
struct Memory {
    seen: Arc<Mutex<Vec<u8>>>,
    broken: Arc<AtomicBool>,
}

impl Target for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        locked(&self.seen).extend_from_slice(bytes);
        Ok(())
    }

    fn look_after(&mut self) {}
}

/// A disk that stands still until it is told to go on.
struct Stuck {
    entered: SyncSender<()>,
    go: Receiver<()>,
}

impl Target for Stuck {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<()> {
        let _ = self.entered.try_send(());
        let _ = self.go.recv();
        Ok(())
    }

    fn look_after(&mut self) {}
}

fn line(writer: &Writer, shard: usize, text: &str) {
    writer.line(shard, |out| {
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    });
}

#[test]
fn lines_of_all_shards_come_out_whole() {
    let memory = Memory::default();
    let writer = Writer::run(Box::new(memory.clone()), 2).unwrap();
    std::thread::scope(|scope| {
        for shard in 0..3 {
            let writer = &writer;
            scope.spawn(move || {
                for number in 0..500 {
                    line(writer, shard, &format!("shard {shard} line {number:04}"));
                }
            });
        }
    });
    assert!(writer.flush(SOON));
    let seen = String::from_utf8(locked(&memory.seen).clone()).unwrap();
    let mut lines: Vec<&str> = seen.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 1_500);
    assert!(
        lines
            .iter()
            .all(|line| line.len() == "shard 0 line 0000".len())
    );
}

#[test]
fn a_lone_line_comes_out_without_being_asked_for() {
    struct Tell(SyncSender<Vec<u8>>);
    impl Target for Tell {
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.try_send(bytes.to_vec()).map_err(io::Error::other)
        }
        fn look_after(&mut self) {}
    }
    let (tell, told) = sync_channel(8);
    let writer = Writer::run(Box::new(Tell(tell)), 1).unwrap();
    for text in ["one", "two"] {
        line(&writer, 0, text);
        let out = told
            .recv_timeout(SOON)
            .expect("the writer wakes up by itself");
        assert_eq!(out, format!("{text}\n").into_bytes());
    }
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let memory = Memory::default();
    let writer = Writer::run(Box::new(memory.clone()), 1).unwrap();
    memory.broken.store(true, Ordering::SeqCst);
    line(&writer, 0, "lost");
    line(&writer, 0, "lost too");
    assert!(writer.flush(SOON));
    assert_eq!(writer.dropped(DropReason::WriteFailed), 2);
    memory.broken.store(false, Ordering::SeqCst);
    line(&writer, 0, "kept");
    assert!(writer.flush(SOON));
    assert_eq!(writer.dropped(DropReason::WriteFailed), 2);
    // The line feed ends what a partial write may have left.
    assert_eq!(*locked(&memory.seen), b"\nkept\n");
}

#[test]
fn a_disk_that_stands_still_never_holds_a_request_up() {
    let (entered, inside) = sync_channel(1);
    let (go, gate) = sync_channel::<()>(0);
    let writer = Writer::run(Box::new(Stuck { entered, go: gate }), 1).unwrap();
    line(&writer, 0, "first");
    inside
        .recv_timeout(SOON)
        .expect("the first line reaches the disk");
    let long = "x".repeat(BATCH_BYTES);
    for _ in 0..QUEUE + 10 {
        line(&writer, 0, &long);
    }
    assert!(writer.dropped(DropReason::QueueFull) >= 9);
    assert!(!writer.flush(Duration::ZERO));
    drop(go);
}

#[test]
fn emptied_buffers_are_used_again_and_odd_ones_are_not() {
    let writer = Writer::run(Box::new(Memory::default()), 1).unwrap();
    for capacity in [BATCH_BYTES * 5, 10, 20, 30] {
        writer.shared.recycle(Vec::with_capacity(capacity));
    }
    assert_eq!(locked(&writer.shared.spare).len(), 2);
}

#[test]
fn a_renamed_file_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mut rotated = Rotated::open(&path).unwrap();
    rotated.check = Duration::ZERO;
    rotated.write(b"before\n").unwrap();
    std::fs::rename(&path, folder.path().join("access.log.1")).unwrap();
    rotated.look_after();
    rotated.write(b"after\n").unwrap();
    rotated.look_after();
    rotated.write(b"same file\n").unwrap();
    assert_eq!(
        std::fs::read(folder.path().join("access.log.1")).unwrap(),
        b"before\n"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"after\nsame file\n");
}

#[test]
fn a_path_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/access.log");
    let error = Writer::start(&AccessLog::File(path.clone()), 1).unwrap_err();
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    assert!(Writer::start(&AccessLog::Off, 1).unwrap().is_none());
}
