//! The program: command line, runtime, exit code.

use std::io::Write;
use std::process::ExitCode;

use wechat_logistics_exporter::command;
use wechat_logistics_exporter::config::Args;

fn main() -> ExitCode {
    let args = Args::from_command_line();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("threads can't be started: {error}"), 1),
    };
    match runtime.block_on(command::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.sentence() {
            Some(sentence) => failed(&sentence, error.exit_code()),
            None => ExitCode::from(error.exit_code()),
        },
    }
}

fn failed(sentence: &str, code: u8) -> ExitCode {
    // Where standard error is closed, the exit code has to do.
    let _ = writeln!(std::io::stderr(), "wechat-logistics-exporter: {sentence}");
    ExitCode::from(code)
}
