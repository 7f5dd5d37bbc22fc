//! Notices changes and asks for reloads, on a thread of its own.
//!
//! Promises: folders are watched, never single files, so that renames over a
//! file and swaps of a mount's `..data` are seen; a burst is one reload; what
//! events miss, the slow poll finds; SIGHUP reloads at once.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Outcome, reload};
use crate::edge::Edge;
use crate::server::tls::TlsChange;

/// How often is looked.
#[derive(Copy, Clone, Debug)]
pub struct Pace {
    /// Quiet that ends a burst of events; 100 ms.
    pub debounce: Duration,
    /// A burst is cut after this; 400 ms.
    pub burst: Duration,
    /// Looked without any event; 30 s.
    pub poll: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(100),
            burst: Duration::from_millis(400),
            poll: Duration::from_secs(30),
        }
    }
}

/// What a look has found.
pub enum News<'a> {
    /// Never [`Outcome::Unchanged`].
    Policies(&'a Outcome),
    /// A certificate, authorities, or ticket keys.
    Tls(&'a TlsChange),
}

/// Told of everything that a look has found.
pub type Report = Box<dyn Fn(&News<'_>) + Send>;

/// A running watch; dropping it ends the thread.
pub struct Watcher {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Begins to watch what `edge` was loaded from. An error when the process
    /// can't have another thread or signal handler; a folder that can't be
    /// watched is polled.
    pub fn start(edge: Arc<Edge>, pace: Pace, report: Report) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let hangup = {
            let _inside = runtime.enter();
            signal(SignalKind::hangup())?
        };
        let (stop, stopped) = oneshot::channel();
        let watch = Watch::new(edge, pace, report);
        let thread = std::thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || runtime.block_on(watch.run(hangup, stopped)))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there.
            let _ = thread.join();
        }
    }
}

struct Watch {
    edge: Arc<Edge>,
    pace: Pace,
    report: Report,
    changed: Arc<Notify>,
    folders: Folders,
}

impl Watch {
    fn new(edge: Arc<Edge>, pace: Pace, report: Report) -> Self {
        let changed = Arc::new(Notify::new());
        let folders = Folders::new(Interest::of(&edge), changed.clone());
        Self {
            edge,
            pace,
            report,
            changed,
            folders,
        }
    }

    async fn run(mut self, mut hangup: Signal, mut stopped: oneshot::Receiver<()>) {
        // Between the first load and this watch something may have changed.
        self.look();
        loop {
            let next = Instant::now() + self.pace.poll;
            tokio::select! {
                _ = &mut stopped => return,
                () = self.changed.notified() => self.settle().await,
                _ = hangup.recv() => {}
                () = sleep_until(next) => {}
            }
            self.look();
        }
    }

    /// Waits for the end of a burst.
    async fn settle(&self) {
        let end = Instant::now() + self.pace.burst;
        while Instant::now() < end {
            if timeout(self.pace.debounce, self.changed.notified())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    fn look(&mut self) {
        self.folders.renew();
        self.news();
        // A new generation may name other files for its endpoints.
        if self.folders.follow(Interest::of(&self.edge)) == Followed::Others {
            self.news();
        }
    }

    fn news(&mut self) {
        match reload(&self.edge) {
            Outcome::Unchanged => {}
            outcome @ (Outcome::Mended | Outcome::Live { .. } | Outcome::Rejected(_)) => {
                (self.report)(&News::Policies(&outcome));
            }
        }
        let generation = self.edge.generation();
        for change in self.edge.tls.reload(&generation.upstreams) {
            (self.report)(&News::Tls(&change));
        }
    }
}

/// Whether the files that matter are those of before.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Followed {
    Same,
    Others,
}

/// Which events matter.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Interest {
    policies: PathBuf,
    /// Databases, certificates: single files among others.
    files: BTreeSet<PathBuf>,
    /// Folders of which every file matters.
    whole: BTreeSet<PathBuf>,
}

impl Interest {
    fn of(edge: &Edge) -> Self {
        let settings = &edge.settings;
        let generation = edge.generation();
        let tls = edge.tls.paths().into_iter();
        let tls = tls.chain(generation.upstreams.paths());
        let (whole, single): (Vec<_>, Vec<_>) = tls.partition(|path| path.is_dir());
        let files = settings.geo.databases.iter().chain(&single);
        Self {
            policies: absolute(&settings.policies),
            files: files.map(|path| absolute(path)).collect(),
            whole: whole.iter().map(|path| absolute(path)).collect(),
        }
    }

    /// The policy folder, its parent (the folder itself may be swapped), and
    /// the parents of single files.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let parents = self.files.iter().filter_map(|file| file.parent());
        let parents = parents.chain(self.policies.parent()).map(Path::to_path_buf);
        let whole = self.whole.iter().cloned();
        parents
            .chain([self.policies.clone()])
            .chain(whole)
            .collect()
    }

    /// Our own reading makes access events: they never matter.
    fn concerns(&self, event: &Event) -> bool {
        if matches!(event.kind, EventKind::Access(_)) {
            return false;
        }
        event.need_rescan() || event.paths.iter().any(|path| self.concerns_path(path))
    }

    fn concerns_path(&self, path: &Path) -> bool {
        let mount_swap = path.file_name() == Some(OsStr::new("..data"));
        mount_swap
            || path == self.policies
            || path.parent() == Some(&self.policies)
            || self.files.contains(path)
            || path
                .parent()
                .is_some_and(|folder| self.whole.contains(folder))
    }
}

/// Absolute without resolving links: events name paths as they were watched.
fn absolute(path: &Path) -> PathBuf {
    // Component by component: `policies/` and `./policies` are `policies`.
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_path_buf())
        .components()
        .collect()
}

/// The watched folders. One that can't be watched is tried again at each look.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    interest: Arc<ArcSwap<Interest>>,
    /// Folder and the identity it had when it was watched.
    all: Vec<(PathBuf, Option<(u64, u64)>)>,
}

impl Folders {
    fn new(interest: Interest, changed: Arc<Notify>) -> Self {
        let interest = Arc::new(ArcSwap::from_pointee(interest));
        let concerns = Arc::clone(&interest);
        let handler = move |event: notify::Result<Event>| match event {
            Ok(event) if !concerns.load().concerns(&event) => {}
            // After an error anything may have been missed.
            Ok(_) | Err(_) => changed.notify_one(),
        };
        let watcher = notify::recommended_watcher(handler).ok();
        let all = interest
            .load()
            .folders()
            .into_iter()
            .map(|folder| (folder, None))
            .collect();
        let mut folders = Self {
            watcher,
            interest,
            all,
        };
        folders.renew();
        folders
    }

    /// Watches what matters now, and nothing else.
    fn follow(&mut self, interest: Interest) -> Followed {
        if **self.interest.load() == interest {
            return Followed::Same;
        }
        let wanted = interest.folders();
        self.all.retain(|(folder, _)| {
            let kept = wanted.contains(folder);
            if let (false, Some(watcher)) = (kept, &mut self.watcher) {
                // What is gone can't be unwatched: nothing to do about it.
                let _ = watcher.unwatch(folder);
            }
            kept
        });
        for folder in wanted {
            if self.all.iter().all(|(known, _)| *known != folder) {
                self.all.push((folder, None));
            }
        }
        self.interest.store(Arc::new(interest));
        self.renew();
        Followed::Others
    }

    /// Watches folders that are new or were replaced by another.
    fn renew(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for (folder, identity) in &mut self.all {
            let now = identity_of(folder);
            if now == *identity {
                continue;
            }
            // What is gone can't be unwatched: nothing to do about it.
            let _ = watcher.unwatch(folder);
            let done = watcher.watch(folder, RecursiveMode::NonRecursive);
            *identity = done.ok().and(now);
        }
    }
}

fn identity_of(folder: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(folder)
        .ok()
        .map(|meta| (meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind};

    use super::*;

    fn interest() -> Interest {
        Interest {
            policies: "/etc/meridian/policies".into(),
            files: BTreeSet::from(["/data/geo.mmdb".into()]),
            whole: BTreeSet::from(["/keys".into()]),
        }
    }

    fn created(path: &str) -> Event {
        Event::new(EventKind::Create(CreateKind::File)).add_path(path.into())
    }

    #[test]
    fn policies_databases_and_mount_swaps_matter_and_neighbours_do_not() {
        for path in [
            "/etc/meridian/policies",
            "/etc/meridian/policies/regions.yaml",
            "/etc/meridian/policies/..data",
            "/data/geo.mmdb",
            "/data/..data",
            "/keys/2026-11",
        ] {
            assert!(interest().concerns(&created(path)), "{path}");
        }
        for path in [
            "/etc/meridian/access.log",
            "/data/other.mmdb",
            "/etc/meridian",
        ] {
            assert!(!interest().concerns(&created(path)), "{path}");
        }
    }

    #[test]
    fn reading_the_files_does_not_cause_another_look() {
        let read = Event::new(EventKind::Access(AccessKind::Read))
            .add_path("/etc/meridian/policies/regions.yaml".into());
        assert!(!interest().concerns(&read));
    }

    #[test]
    fn folders_are_watched_and_never_files() {
        let folders: Vec<PathBuf> = interest().folders().into_iter().collect();
        assert_eq!(
            folders,
            [
                PathBuf::from("/data"),
                "/etc/meridian".into(),
                "/etc/meridian/policies".into(),
                "/keys".into()
            ]
        );
    }

    #[test]
    fn a_folder_is_followed_as_long_as_a_file_in_it_matters() {
        let dir = tempfile::tempdir().unwrap();
        let interest = |folder: &str, file: &str| {
            let folder = dir.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            Interest {
                policies: dir.path().join("policies"),
                files: BTreeSet::from([folder.join(file)]),
                whole: BTreeSet::new(),
            }
        };
        let mut folders = Folders::new(interest("a", "ca.pem"), Arc::default());
        assert_eq!(folders.follow(interest("a", "ca.pem")), Followed::Same);
        assert_eq!(folders.follow(interest("b", "ca.pem")), Followed::Others);
        let watched = |name: &str| {
            let folder = dir.path().join(name);
            folders
                .all
                .iter()
                .any(|(known, id)| *known == folder && id.is_some())
        };
        assert!(watched("b") && !watched("a"));
        let event = |name| created(dir.path().join(name).to_str().unwrap());
        assert!(folders.interest.load().concerns(&event("b/ca.pem")));
        assert!(!folders.interest.load().concerns(&event("a/ca.pem")));
    }

    #[test]
    fn a_path_is_the_same_however_it_is_written() {
        assert_eq!(
            absolute(Path::new("/etc/./meridian/policies/")),
            Path::new("/etc/meridian/policies")
        );
    }
}
