//! The program: command line, runtime, exit code.

use std::process::ExitCode;
use std::time::Duration;

use wechat_logistics_exporter::command::{self, Cli};
use wechat_logistics_exporter::logging;

/// Threads that answer requests. Long work has threads of its own; on a large machine one for each core would idle.
const WORKERS_MAX: usize = 4;

fn main() -> ExitCode {
    // After a panic too.
    let _flush = logging::FlushAtExit;
    let cli = Cli::from_command_line();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(WORKERS_MAX))
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return ended(Some(format!("threads can't be started: {error}")), 1),
    };
    let result = runtime.block_on(command::run(cli));
    // A file that is being read or written on a disk that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(()) => ended(None, 0),
        Err(error) => ended(error.sentence(), error.exit_code()),
    }
}

fn ended(sentence: Option<String>, code: u8) -> ExitCode {
    if let Some(sentence) = sentence {
        logging::say(&sentence);
    }
    ExitCode::from(code)
}
