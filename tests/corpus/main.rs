//! The properties of `tests/properties`, on the files of each corpus and on random changes of them.
//!
//! The changes are the same in every run. `fuzz/` looks for inputs that are cleverer; what it finds is kept here, so
//! that it is found again without it.

// A fixture that can't be made is a failed test.
#![allow(
    clippy::unwrap_used,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub
)]

mod change;
#[path = "../properties/mod.rs"]
mod properties;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use change::Dice;

/// All files of a corpus together are to stay small. Unit: bytes.
const CORPUS_MAX: u64 = 200_000;

fn holds(target: &str, changes: usize, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!((5..=60).contains(&files.len()), "{} files", files.len());
    let inputs: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let bytes: u64 = inputs.iter().map(|input| input.len() as u64).sum();
    assert!(bytes <= CORPUS_MAX, "{bytes} bytes");

    for (file, input) in files.iter().zip(&inputs) {
        assert!(
            catch_unwind(|| check(input)).is_ok(),
            "{target} fails on {}",
            file.display()
        );
    }
    let mut dice = Dice::new(target);
    for _ in 0..changes {
        let input = dice.changed(&inputs);
        if catch_unwind(|| check(&input)).is_err() {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(target);
            fs::write(&kept, &input).unwrap();
            panic!(
                "{target} fails on {}, which is {:?}",
                kept.display(),
                String::from_utf8_lossy(&input)
            );
        }
    }
}

#[test]
fn account_list_is_within_its_limits_and_is_stored_as_it_was_read() {
    holds("account_list", 5000, properties::account_list::check);
}

#[test]
fn cloud_function_says_the_same_as_the_https_call() {
    holds("cloud_function", 2000, properties::cloud_function::check);
}

#[test]
fn answer_is_what_the_accept_headers_welcome_most() {
    holds("negotiation", 5000, properties::negotiation::check);
}

#[test]
fn scrape_has_some_time_and_no_more_than_both_sides_allow() {
    holds("scrape_timeout", 5000, properties::scrape_timeout::check);
}

#[test]
fn configuration_is_sound_or_refused_in_one_line_without_a_secret() {
    holds("configuration", 1500, properties::configuration::check);
}

#[test]
fn web_configuration_is_refused_in_one_line_with_its_place_and_without_a_secret() {
    holds(
        "web_configuration",
        2000,
        properties::web_configuration::check,
    );
}

#[test]
fn state_file_binds_within_the_rules_and_is_never_lost() {
    holds("state_file", 500, properties::state_file::check);
}

#[test]
fn token_answer_gives_a_token_or_is_not_quoted() {
    holds("token_answer", 500, properties::token_answer::check);
}
