//! The version of this program, and the source and the compiler that it was built from.

/// The package's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The source revision; `unknown` if the build could not determine it.
pub const REVISION: &str = env!("EXPORTER_REVISION");

/// The `User-Agent` that the exporter sends to other servers.
pub(crate) const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// The compiler's version.
pub const RUSTC: &str = env!("EXPORTER_RUSTC");

/// The text that `--version` shows after the program's name.
pub(crate) const DETAILED: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (revision: ",
    env!("EXPORTER_REVISION"),
    ")\n  rustc:    ",
    env!("EXPORTER_RUSTC"),
    "\n  platform: ",
    env!("EXPORTER_TARGET"),
);
