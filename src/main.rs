//! The program: command line, log, exit code.

use std::process::ExitCode;

use wechat_logistics_exporter::command::{self, Cli};
use wechat_logistics_exporter::logging::Log;

fn main() -> ExitCode {
    // `--help`, `--version` and usage errors end the process here, with 0 or 2.
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let mut log = Log::start(cli.args.log);
    match command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(sentence) = error.sentence() {
                log.say(&sentence);
            }
            ExitCode::from(error.exit_code())
        }
    }
}
