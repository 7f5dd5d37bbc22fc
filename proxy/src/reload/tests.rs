use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use arc_swap::ArcSwap;
use meridian_geo::IpNet;
use meridian_policies::limits::LimitState;
use meridian_policies::retry::Budget;
use meridian_policies::{SourceFile, State};

use super::{News, Outcome, Pace, Watcher, first, reload};
use crate::edge::{Clock, Edge, Lifecycle};
use crate::server::{Connections, Tls};
use crate::settings::{Settings, Surroundings};
use crate::telemetry::Telemetry;

const STATIC: &str = "edge: { region: here }\nlisteners: [{ address: \"127.0.0.1:0\" }]\n\
    telemetry: { access_log: off, receipts: 16 }\n";
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with a static file and policies.
struct Home {
    folder: tempfile::TempDir,
}

fn regions(endpoint: &str) -> String {
    format!("residency: off\nregions:\n  - id: here\n    endpoints: [\"http://{endpoint}\"]\n")
}

impl Home {
    fn new() -> Self {
        let home = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(home.path("meridian.yaml"), STATIC).unwrap();
        fs::create_dir(home.path("policies")).unwrap();
        home.write(&regions("127.0.0.1:1001"));
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// In place, as `echo >` does.
    fn write(&self, text: &str) {
        fs::write(self.path("policies/regions.yaml"), text).unwrap();
    }

    /// By a rename over the file, as editors do.
    fn rename_over(&self, text: &str) {
        fs::write(self.path("policies/.new"), text).unwrap();
        fs::rename(
            self.path("policies/.new"),
            self.path("policies/regions.yaml"),
        )
        .unwrap();
    }

    fn edge(&self) -> Arc<Edge> {
        let path = self.path("meridian.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let source = SourceFile {
            path: path.display().to_string(),
            text,
        };
        let settings = Settings::parse(&source, &path, &Surroundings::of(&path)).unwrap();
        let (clock, state) = (Clock::start(), State::new());
        let (generation, reloads) = first(&settings, &state, &clock).unwrap();
        let tls = Tls::load(&settings).unwrap_or_else(|faults| panic!("{faults:?}"));
        let telemetry = Telemetry::new(&settings.telemetry, &settings.edge_region).unwrap();
        let connections = Connections::new(&settings.limits);
        Arc::new(Edge {
            tls,
            settings,
            live: ArcSwap::from_pointee(generation),
            state,
            limits: LimitState::new(64),
            budget: Budget::new(),
            connections,
            telemetry,
            clock,
            lifecycle: Lifecycle::new(),
            reloads,
        })
    }
}

fn endpoint(edge: &Edge) -> String {
    edge.generation().snapshot.endpoints()[0].authority.clone()
}

/// A watch that polls too slowly to help, so that only events can.
fn watch(edge: &Arc<Edge>) -> (Watcher, Receiver<Outcome>) {
    let (tell, told) = channel();
    let pace = Pace {
        poll: Duration::from_hours(1),
        ..Pace::default()
    };
    let report = Box::new(move |news: &News<'_>| {
        if let News::Policies(outcome) = news {
            drop(tell.send((*outcome).clone()));
        }
    });
    (Watcher::start(edge.clone(), pace, report).unwrap(), told)
}

/// The next generation that goes live. What was told before it may be a file
/// that was read while it was being written.
fn live(told: &Receiver<Outcome>) -> u64 {
    loop {
        match told.recv_timeout(PATIENCE).expect("a change is noticed") {
            Outcome::Live { generation, .. } => return generation,
            Outcome::Unchanged | Outcome::Mended | Outcome::Rejected(_) => {}
        }
    }
}

#[test]
fn a_good_change_is_a_new_generation_and_no_change_is_none() {
    let home = Home::new();
    let edge = home.edge();
    assert!(matches!(reload(&edge), Outcome::Unchanged));
    home.write(&regions("127.0.0.1:1002"));
    assert!(matches!(reload(&edge), Outcome::Live { generation: 2, .. }));
    assert_eq!(endpoint(&edge), "127.0.0.1:1002");
    assert_eq!(edge.reloads.accepted_last().generation, 2);
    assert!(matches!(reload(&edge), Outcome::Unchanged));
    assert_eq!(edge.reloads.counts(), (2, 0));
}

#[test]
fn request_inspection_is_compiled_anew_only_when_its_own_part_has_changed() {
    let home = Home::new();
    let edge = home.edge();
    let first = Arc::clone(&edge.generation().waf);
    home.write(&regions("127.0.0.1:1002"));
    assert!(matches!(reload(&edge), Outcome::Live { generation: 2, .. }));
    assert!(Arc::ptr_eq(&first, &edge.generation().waf));
    let rule = first.rules().first().unwrap().id;
    let disabled = format!("waf: {{ mode: block, disabled_rules: [{rule}] }}\n");
    home.write(&format!("{}{disabled}", regions("127.0.0.1:1002")));
    assert!(matches!(reload(&edge), Outcome::Live { generation: 3, .. }));
    assert!(!Arc::ptr_eq(&first, &edge.generation().waf));
}

#[test]
fn a_bad_change_changes_nothing_is_told_once_and_mended_by_taking_it_back() {
    let home = Home::new();
    let edge = home.edge();
    let before = edge.generation();
    home.write("regions:\n  - idd: here\n");
    let Outcome::Rejected(faults) = reload(&edge) else {
        panic!("a slip is rejected")
    };
    assert!(faults.iter().any(|fault| fault.line == 2), "{faults:?}");
    assert!(faults[0].path.ends_with("regions.yaml"));
    assert!(Arc::ptr_eq(&before, &edge.generation()));
    assert!(matches!(reload(&edge), Outcome::Unchanged), "told once");
    assert_eq!(edge.reloads.standing().unwrap().diagnostics, faults);

    home.write(&regions("127.0.0.1:1001"));
    assert!(matches!(reload(&edge), Outcome::Mended));
    assert!(edge.reloads.standing().is_none());
    assert!(
        Arc::ptr_eq(&before, &edge.generation()),
        "nothing was swapped"
    );
    assert_eq!(edge.reloads.counts(), (1, 1));
}

#[test]
fn a_folder_that_is_gone_leaves_the_last_good_set_and_comes_back() {
    let home = Home::new();
    let edge = home.edge();
    fs::rename(home.path("policies"), home.path("elsewhere")).unwrap();
    assert!(matches!(reload(&edge), Outcome::Rejected(_)));
    assert_eq!(endpoint(&edge), "127.0.0.1:1001");
    fs::rename(home.path("elsewhere"), home.path("policies")).unwrap();
    assert!(matches!(reload(&edge), Outcome::Mended));
}

#[test]
fn a_file_that_a_value_refers_to_counts_as_part_of_the_set() {
    let home = Home::new();
    fs::write(home.path("policies/upstream"), "http://127.0.0.1:1003\n").unwrap();
    home.write("residency: off\nregions:\n  - id: here\n    endpoints: [\"file:upstream\"]\n");
    let edge = home.edge();
    assert_eq!(endpoint(&edge), "127.0.0.1:1003");
    assert!(matches!(reload(&edge), Outcome::Unchanged));
    fs::write(home.path("policies/upstream"), "http://127.0.0.1:1004\n").unwrap();
    assert!(matches!(reload(&edge), Outcome::Live { generation: 2, .. }));
    assert_eq!(endpoint(&edge), "127.0.0.1:1004");
}

#[test]
fn writes_in_place_and_renames_over_the_file_are_noticed_every_time() {
    let home = Home::new();
    let edge = home.edge();
    let (_watcher, told) = watch(&edge);
    let mut expected = 1;
    for port in 2_000..2_003 {
        home.rename_over(&regions(&format!("127.0.0.1:{port}")));
        expected += 1;
        assert_eq!(live(&told), expected);
        home.write(&regions(&format!("127.0.0.1:{}", port + 100)));
        expected += 1;
        assert_eq!(live(&told), expected);
        assert_eq!(endpoint(&edge), format!("127.0.0.1:{}", port + 100));
    }
}

#[test]
fn a_swap_of_a_mounts_data_folder_is_noticed_every_time() {
    let home = Home::new();
    let policies = home.path("policies");
    fs::remove_file(policies.join("regions.yaml")).unwrap();
    let version = |number: u32| {
        let folder = policies.join(format!("..version_{number}"));
        fs::create_dir(&folder).unwrap();
        fs::write(
            folder.join("regions.yaml"),
            regions(&format!("127.0.0.1:{}", 3_000 + number)),
        )
        .unwrap();
        folder
    };
    let point = |to: &Path| {
        std::os::unix::fs::symlink(to.file_name().unwrap(), policies.join("..data_tmp")).unwrap();
        fs::rename(policies.join("..data_tmp"), policies.join("..data")).unwrap();
    };
    point(&version(0));
    std::os::unix::fs::symlink("..data/regions.yaml", policies.join("regions.yaml")).unwrap();
    let edge = home.edge();
    let (_watcher, told) = watch(&edge);
    for number in 1..4 {
        point(&version(number));
        assert_eq!(live(&told), u64::from(number) + 1);
        assert_eq!(endpoint(&edge), format!("127.0.0.1:{}", 3_000 + number));
    }
}

#[test]
fn a_folder_that_is_swapped_for_another_is_noticed_and_watched() {
    let home = Home::new();
    let edge = home.edge();
    let (_watcher, told) = watch(&edge);
    fs::create_dir(home.path("next")).unwrap();
    fs::write(home.path("next/regions.yaml"), regions("127.0.0.1:4001")).unwrap();
    fs::rename(home.path("policies"), home.path("old")).unwrap();
    fs::rename(home.path("next"), home.path("policies")).unwrap();
    // Between the two renames there is no folder: that may be told as well.
    assert_eq!(live(&told), 2);
    assert_eq!(endpoint(&edge), "127.0.0.1:4001");
    home.rename_over(&regions("127.0.0.1:4002"));
    assert_eq!(live(&told), 3);
}

#[test]
fn the_slow_poll_finds_what_events_miss() {
    let home = Home::new();
    fs::write(home.path("upstream"), "http://127.0.0.1:5001").unwrap();
    home.write("residency: off\nregions:\n  - id: here\n    endpoints: [\"file:../upstream\"]\n");
    let edge = home.edge();
    let (tell, told) = channel();
    let pace = Pace {
        poll: Duration::from_millis(20),
        ..Pace::default()
    };
    let report = Box::new(move |news: &News<'_>| {
        if let News::Policies(outcome) = news {
            drop(tell.send((*outcome).clone()));
        }
    });
    let _watcher = Watcher::start(edge.clone(), pace, report).unwrap();
    // Its folder is watched for other names only.
    fs::write(home.path("upstream"), "http://127.0.0.1:5002").unwrap();
    assert_eq!(live(&told), 2);
    assert_eq!(endpoint(&edge), "127.0.0.1:5002");
}

#[test]
fn a_watch_that_is_dropped_ends() {
    let home = Home::new();
    let edge = home.edge();
    let (watcher, told) = watch(&edge);
    drop(watcher);
    assert!(told.recv().is_err(), "its thread is gone");
    assert_eq!(Arc::strong_count(&edge), 1);
}

/// A database that places one network.
fn database(country: &str, built: u64) -> Vec<u8> {
    let mut writer = mmdb_writer::Writer::builder("Test")
        .build_epoch(std::time::UNIX_EPOCH + Duration::from_secs(built))
        .build();
    let record = mmdb_writer::Value::map([("country_code", country)]);
    writer
        .insert_value("8.8.8.0/24".parse::<IpNet>().unwrap(), record)
        .unwrap();
    writer.to_bytes().unwrap()
}

#[test]
fn a_database_is_swapped_for_a_better_one_and_kept_before_a_worse_one() {
    const BUILT: u64 = 1_700_000_000;
    let home = Home::new();
    let with_database = format!("{STATIC}geo: {{ embedded: off, databases: [data/geo.mmdb] }}\n");
    fs::write(home.path("meridian.yaml"), with_database).unwrap();
    fs::create_dir(home.path("data")).unwrap();
    let put = |bytes: &[u8]| {
        fs::write(home.path("data/new"), bytes).unwrap();
        fs::rename(home.path("data/new"), home.path("data/geo.mmdb")).unwrap();
    };
    put(&database("DE", BUILT));
    let edge = home.edge();
    let country = || {
        let place = edge.generation().locator.locate("8.8.8.8".parse().unwrap());
        place.country.unwrap().as_str().to_owned()
    };
    assert_eq!(country(), "DE");
    let (_watcher, told) = watch(&edge);

    put(&database("US", BUILT + 1));
    assert_eq!(live(&told), 2);
    assert_eq!(country(), "US");

    for worse in [b"not a database".to_vec(), database("FR", BUILT)] {
        put(&worse);
        let outcome = told.recv_timeout(PATIENCE).expect("a worse one is told");
        let Outcome::Rejected(faults) = outcome else {
            panic!("not rejected: {outcome:?}")
        };
        assert!(faults[0].path.ends_with("geo.mmdb"), "{faults:?}");
        assert_eq!((country().as_str(), edge.generation().number), ("US", 2));
        assert!(edge.reloads.standing().is_some());
    }

    // Policies still reload, with the last good database.
    home.rename_over(&regions("127.0.0.1:6001"));
    assert_eq!(live(&told), 3);
    assert_eq!(country(), "US");
    assert!(
        edge.reloads.standing().is_some(),
        "the database is still bad"
    );

    put(&database("NL", BUILT + 2));
    assert_eq!(live(&told), 4);
    assert_eq!(country(), "NL");
    assert!(edge.reloads.standing().is_none());
}

#[test]
fn a_stale_database_is_told_and_asked_or_not_as_the_settings_say() {
    const BUILT: u64 = 1_700_000_000;
    for (stale, country) in [("warn", Some("DE")), ("unknown", None)] {
        let home = Home::new();
        let settings = format!(
            "{STATIC}geo: {{ embedded: off, databases: [geo.mmdb], max_age: 30d, stale: {stale} }}\n"
        );
        fs::write(home.path("meridian.yaml"), settings).unwrap();
        fs::write(home.path("geo.mmdb"), database("DE", BUILT)).unwrap();
        let edge = home.edge();
        let place = edge.generation().locator.locate("8.8.8.8".parse().unwrap());
        assert_eq!(place.country.map(|found| found.as_str()), country);
        let told = edge.reloads.databases();
        assert!(told.len() == 1 && told[0].stale && told[0].built == BUILT);
        assert!(matches!(reload(&edge), Outcome::Unchanged));

        // A younger one is asked again.
        let now = Clock::unix_ms() / 1_000;
        fs::write(home.path("new"), database("US", now - 60)).unwrap();
        fs::rename(home.path("new"), home.path("geo.mmdb")).unwrap();
        assert!(matches!(reload(&edge), Outcome::Live { .. }));
        let place = edge.generation().locator.locate("8.8.8.8".parse().unwrap());
        assert_eq!(place.country.map(|found| found.as_str()), Some("US"));
        assert!(!edge.reloads.databases()[0].stale);
    }
}

#[test]
fn a_guard_keeps_a_change_from_going_live_and_says_by_how_much() {
    let home = Home::new();
    let guarded =
        format!("{STATIC}recording: {{ guard: {{ requests: 10, newly_refused: 10% }} }}\n");
    fs::write(home.path("meridian.yaml"), guarded).unwrap();
    let with_route = |more: &str| {
        format!(
            "{}routes: [{{ id: all, path: /* }}]\n{more}",
            regions("127.0.0.1:1001")
        )
    };
    home.write(&with_route(""));
    let edge = home.edge();
    let live = edge.generation();
    let head = crate::telemetry::testing::head("/v3/echo", &[]);
    for _ in 0..10 {
        let outcome = crate::telemetry::Outcome {
            region: Some(meridian_policies::RegionIndex(0)),
            endpoint: Some(meridian_policies::EndpointIndex(0)),
            ..crate::telemetry::testing::outcome(&live, &head)
        };
        let receipt = meridian_policies::Receipt {
            route: Some(meridian_policies::RouteIndex(0)),
            verdict: meridian_policies::Verdict::Forward {
                region: meridian_policies::RegionIndex(0),
            },
            ..meridian_policies::Receipt::new()
        };
        edge.telemetry.finish(&outcome, Box::new(receipt));
    }
    home.write(&with_route(
        "access: { requests: [{ deny: { id: all, paths: ['/v3/*'] } }] }\n",
    ));
    let Outcome::Rejected(faults) = reload(&edge) else {
        panic!("the guard let it pass");
    };
    assert!(
        faults[0].message.contains("newly_refused: 10 of 10"),
        "{}",
        faults[0].message
    );
    assert_eq!(edge.generation().number, 1);
    assert!(edge.reloads.standing().is_some());
    home.write(&with_route("access: { default: allow }\n"));
    assert!(matches!(reload(&edge), Outcome::Live { generation: 2, .. }));
}
