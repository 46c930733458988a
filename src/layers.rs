//! Holds the list of modules in the crate's documentation to the code: each uses only those below it.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules from top to bottom, as the documentation lists them.
fn listed() -> Vec<&'static str> {
    include_str!("lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! - "))
        .filter_map(|item| item.split('`').nth(1))
        .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The module of each source file but tests, with the modules that it names.
fn arrows() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut arrows = Vec::new();
    for file in sources(&root) {
        let place = file.strip_prefix(&root).unwrap();
        let is_test = place.iter().any(|part| {
            ["tests", "tests.rs", "redis_server.rs", "layers.rs"]
                .iter()
                .any(|test| part == *test)
        });
        if is_test || place == Path::new("main.rs") {
            continue;
        }
        let module = place.iter().next().unwrap().to_str().unwrap();
        let module = module.trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for named in code.split("crate::").skip(1) {
            // `use crate::{demo, version};`
            let (list, _) = named.split_once([';', '\n']).unwrap_or((named, ""));
            let names = match list.strip_prefix('{') {
                Some(list) => list.trim_end_matches('}').split(", ").collect(),
                None => vec![list],
            };
            for name in names {
                let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let name = &name[..end.unwrap_or(name.len())];
                arrows.push((module.clone(), name.to_owned()));
            }
        }
    }
    arrows
}

#[test]
fn every_module_is_listed_and_uses_only_those_below_it() {
    let listed = listed();
    let place = |module: &str| {
        let place = listed.iter().position(|name| *name == module);
        place.unwrap_or_else(|| panic!("{module} is not in the list of lib.rs"))
    };
    let arrows = arrows();
    assert!(arrows.contains(&("app".to_owned(), "limit".to_owned())));
    for (module, used) in &arrows {
        assert!(place(module) <= place(used), "{module} uses {used}");
    }
}
