//! Writes the man pages and the completions of bash, zsh and fish, generated from the command line itself:
//!
//! ```sh
//! cargo run --locked --example generate -- DIRECTORY
//! ```

use std::path::{Path, PathBuf};
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
    // The text of `--version` is too long for a page's header, and its name isn't that of the pages.
    let command_line = || {
        command::command_line()
            .display_name(NAME)
            .version(env!("CARGO_PKG_VERSION"))
    };
    clap_mangen::generate_to(command_line(), &directory)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command_line(), NAME, &directory)?;
    }
    repair(&directory.join(format!("{NAME}.bash")), |bash| {
        // Parts of the script call a command by two names if the program's name contains hyphens.
        bash.replace(
            "wechat__subcmd__logistics__subcmd__exporter",
            "wechat__logistics__exporter",
        )
    })?;
    repair(&directory.join(format!("{NAME}.fish")), without_argparse)
}

fn repair(completions: &Path, repaired: impl Fn(&str) -> String) -> io::Result<()> {
    let written = fs::read_to_string(completions)?;
    fs::write(completions, repaired(&written))
}

/// Replaces the call of `argparse` in the completions of fish. They use it to find out whether a command has been
/// typed, but it rejects flags with dots in their names. The replacement looks for the commands among the words.
fn without_argparse(completions: &str) -> String {
    const ASKS: &str =
        "    argparse -s (__fish_wechat_logistics_exporter_global_optspecs) -- $cmd 2>/dev/null
    or return
";
    assert!(
        completions.contains(ASKS),
        "the completions of fish are made differently now"
    );
    let line = command::command_line();
    let commands: Vec<_> = line
        .get_subcommands()
        .map(|command| command.get_name())
        .collect();
    let looks = format!(
        "    set -l argv (string match -r -- '^(?:{})$' $cmd)\n",
        commands.join("|")
    );
    completions.replace(ASKS, &looks)
}
