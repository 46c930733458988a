//! The program: command line, runtime, exit code.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use wechat_logistics_exporter::command;
use wechat_logistics_exporter::config::Args;

/// Threads that answer requests. Long work has threads of its own; on a large machine one for each core would idle.
const WORKERS_MAX: usize = 4;

fn main() -> ExitCode {
    glibc_malloc::keep_little();
    let args = Args::from_command_line();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(WORKERS_MAX))
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("threads can't be started: {error}"), 1),
    };
    let result = runtime.block_on(command::run(args));
    // A file that is being read or written on a disk that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
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
