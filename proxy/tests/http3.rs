//! Foreign clients of HTTP/3: aioquic (also as a source of any bytes),
//! niquests, Chromium. What they do stands in `tests-clients/http3`;
//! `scripts/test` installs them.

#[cfg(test)]
#[path = "support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::Command;

use support::{Around, repository, skipped};

/// The Python in which the clients are installed.
fn python() -> Option<PathBuf> {
    let python = repository().join(".test/http3/bin/python");
    let mut command = Command::new(&python);
    let found = command.args(["-c", "import aioquic, niquests"]).output();
    found
        .is_ok_and(|done| done.status.success())
        .then_some(python)
}

/// Runs the client's part of a test to its end.
fn run(test: &str) {
    let Some(python) = python() else {
        return skipped(
            test,
            "no HTTP/3 clients for Python (pip install aioquic niquests)",
        );
    };
    let around = Around::new();
    let done = Command::new(python)
        .arg(repository().join("tests-clients/http3"))
        .arg(test)
        .env("MERIDIAN", env!("CARGO_BIN_EXE_meridian"))
        .env("TLS_CERT", around.path("tls.pem"))
        .env("TLS_KEY", around.path("tls.key"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("the client starts");
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
}

macro_rules! clients {
    ($($test:ident)*) => {
        $(
            #[test]
            fn $test() {
                run(stringify!($test));
            }
        )*

        const TESTS: &[&str] = &[$(stringify!($test),)* CHROMIUM];
    };
}

clients! {
    requests_arrive_as_they_were_sent
    fields_of_any_text_arrive_both_ways
    a_websocket_is_carried_until_both_sides_have_closed
    answers_without_a_body_have_none
    interim_answers_and_trailers_are_passed_on
    ten_megabytes_go_up_and_down_at_once
    every_event_is_passed_on_before_the_next_is_made
    an_early_answer_arrives_whole_and_stops_the_upload
    a_hundred_streams_wait_at_once
    two_thousand_requests_are_answered_with_400_outstanding
    a_client_that_leaves_is_felt_by_the_backend_at_once
    a_backend_that_dies_in_a_body_resets_the_stream
    a_client_whose_address_changes_keeps_its_connection
    a_drain_says_goodbye_and_lets_streams_finish
    an_unknown_version_is_answered_with_those_that_are_served
    clients_prove_their_address_where_that_is_asked
    sessions_resume_and_early_data_is_refused
    answers_over_tcp_say_where_http3_is
    niquests_is_served_and_finds_http3_by_itself
    malformed_requests_are_reset_and_reach_no_backend
    bodies_that_are_not_as_announced_are_never_taken_as_whole
    a_message_cut_anywhere_is_never_whole
    requests_that_are_not_served_get_a_status
    faults_of_the_connection_close_it_with_their_code
    unknown_streams_frames_and_settings_are_ignored
    frames_of_any_length_cost_bounded_memory
    a_flood_of_resets_closes_the_connection
    a_flood_of_malformed_requests_closes_the_connection
    a_flood_of_pings_closes_the_connection
    a_flood_of_path_challenges_closes_the_connection
    a_flood_of_new_connection_ids_closes_the_connection
    empty_and_unknown_frames_without_end_are_cut_off
    a_client_that_takes_nothing_is_let_go
    heads_and_bodies_that_drip_meet_their_deadline
}

const CHROMIUM: &str = "chromium_is_served_over_http3";

#[test]
fn chromium_is_served_over_http3() {
    let found = Command::new("chromium").arg("--version").output();
    if found.is_ok_and(|done| done.status.success()) {
        run(CHROMIUM);
    } else {
        skipped(CHROMIUM, "no Chromium (apt-get install chromium)");
    }
}

#[test]
fn every_test_of_the_clients_is_run() {
    let Some(python) = python() else {
        return skipped(
            "every_test_of_the_clients_is_run",
            "no HTTP/3 clients for Python",
        );
    };
    let listed = Command::new(python)
        .arg(repository().join("tests-clients/http3"))
        .output()
        .expect("the client starts");
    let listed = String::from_utf8(listed.stdout).expect("names");
    let mut listed: Vec<_> = listed.lines().collect();
    let mut run = TESTS.to_vec();
    listed.sort_unstable();
    run.sort_unstable();
    assert_eq!(listed, run);
}
