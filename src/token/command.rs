//! Reads a token from the standard output of a command, which runs without a shell each time the token is old.

use std::env;
use std::io;
use std::process::Stdio;
use std::time::SystemTime;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::error::{no_token, settings, unreachable};
use super::parse::{self, TEXT_MAX};
use crate::blocking::BlockingReads;
use crate::config::CommandLine;
use crate::wechat::{AccessToken, Error};

/// The prefix of the exporter's own environment variables, some of which hold secrets.
const OWN_VARIABLES: &str = "WECHAT_LOGISTICS_";

/// Runs the command and reads its token. `secrets` names environment variables that the command doesn't inherit. If the
/// future is dropped, the command is killed with all that it started.
pub(super) async fn read(
    line: &CommandLine,
    secrets: &[String],
    reads: &BlockingReads,
) -> Result<AccessToken, Error> {
    let output = output(command(line, secrets), reads).await?;
    parse::find(&output, None, Some(SystemTime::now()))
}

async fn output(mut command: Command, reads: &BlockingReads) -> Result<Vec<u8>, Error> {
    // Returns when the program has been loaded, from a disk that may hang.
    let spawned = reads.run(move || command.spawn().map(Running)).await;
    let spawned = spawned.map_err(|error| {
        settings(
            "it can't be started; check that the program exists and that the exporter's user may run it",
        )
        .because(&error)
    });
    let mut running = spawned?;
    let broken = |error: io::Error| unreachable(&error);
    let stdout = running.0.stdout.take().expect("standard output is piped");
    let mut output = Vec::new();
    let mut stdout = stdout.take(TEXT_MAX as u64 + 1);
    stdout.read_to_end(&mut output).await.map_err(broken)?;
    if output.len() > TEXT_MAX {
        return Err(no_token(parse::TOO_LONG));
    }
    let status = running.0.wait().await.map_err(broken)?;
    if status.success() {
        Ok(output)
    } else {
        Err(no_token(format!(
            "it ended with {status}; run it by hand to see what it says"
        )))
    }
}

fn command(line: &CommandLine, secrets: &[String]) -> Command {
    let mut command = Command::new(&line.program);
    command
        .args(&line.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // When something fails, tools print requests and answers there, which don't belong in a log.
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    for (name, _) in env::vars_os() {
        let is_own = name.to_string_lossy().starts_with(OWN_VARIABLES);
        if is_own || secrets.iter().any(|secret| name == secret.as_str()) {
            command.env_remove(name);
        }
    }
    command
}

/// A command that is killed on drop with all that it started. Otherwise a script's `curl` would keep running.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // `None` once the command has ended and been waited for. Another process may have its id by then.
        let group = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = group.and_then(Pid::from_raw) {
            // The command may just have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
