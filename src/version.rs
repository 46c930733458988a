//! What this program was made from.

/// The package's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The source revision; `unknown` where the build could not tell.
pub const REVISION: &str = env!("EXPORTER_REVISION");

/// How the exporter names itself to servers that it calls.
pub(crate) const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// The compiler's version.
pub const RUSTC: &str = env!("EXPORTER_RUSTC");

/// All of it, as `--version` shows it after the program's name.
pub(crate) const DETAILED: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (revision: ",
    env!("EXPORTER_REVISION"),
    ")\n  rustc:    ",
    env!("EXPORTER_RUSTC"),
    "\n  platform: ",
    env!("EXPORTER_TARGET"),
);
