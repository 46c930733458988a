//! The program: command line, log, exit code.

use std::process::ExitCode;

use wechat_logistics_exporter::command::{self, Cli};
use wechat_logistics_exporter::logging::Log;

fn main() -> ExitCode {
    let cli = Cli::from_command_line();
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
