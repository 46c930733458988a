//! Embeds the source revision and the compiler's version in the program (`--version`, `exporter_build_info`).

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    // Packagers build without `.git` and set the revision themselves.
    println!("cargo::rerun-if-env-changed=SOURCE_REVISION");
    let revision = env::var("SOURCE_REVISION")
        .ok()
        .filter(|revision| !revision.is_empty())
        .or_else(|| first_line("git", &["rev-parse", "--short=12", "HEAD"]))
        .unwrap_or_else(|| "unknown".to_owned());
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = first_line(&rustc, &["--version"])
        .and_then(|line| line.split_whitespace().nth(1).map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=EXPORTER_REVISION={revision}");
    println!("cargo::rustc-env=EXPORTER_RUSTC={rustc}");
    let target = env::var("TARGET").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo::rustc-env=EXPORTER_TARGET={target}");
    println!("cargo::rerun-if-changed=build.rs");
    // The log of HEAD grows with every commit and checkout; HEAD itself often stays the same.
    if Path::new(".git/logs/HEAD").exists() {
        println!("cargo::rerun-if-changed=.git/logs/HEAD");
    }
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}
