//! Writes the man pages and the completions of bash, zsh and fish, made from the command line itself:
//!
//! ```sh
//! cargo run --locked --example generate -- DIRECTORY
//! ```

use std::path::PathBuf;
use std::{env, fs, io};

use clap_complete::Shell;
use wechat_logistics_exporter::command;

const NAME: &str = "wechat-logistics-exporter";

fn main() -> io::Result<()> {
    let directory: PathBuf = env::args_os()
        .nth(1)
        .ok_or_else(|| io::Error::other("usage: generate DIRECTORY"))?
        .into();
    fs::create_dir_all(&directory)?;
    // What `--version` shows is too long for a page's header, and its name isn't that of the pages.
    let command_line = || {
        command::command_line()
            .display_name(NAME)
            .version(env!("CARGO_PKG_VERSION"))
    };
    clap_mangen::generate_to(command_line(), &directory)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command_line(), NAME, &directory)?;
    }
    Ok(())
}
