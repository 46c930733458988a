//! A token on the standard output of a command.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::io;
use std::process::Stdio;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::error::{Error, Place, Unusable};
use super::form::{self, TEXT_MAX};
use super::kept::Obtained;
use crate::config::{CommandLine, TokenPointers};

/// The exporter's own settings, secrets among them.
const OWN_VARIABLES: &str = "WECHAT_LOGISTICS_";

/// How long the rest of the output may take after the command's end. It is in the pipe by then.
const REST: Duration = Duration::from_millis(100);

/// Environment variables that hold secrets of any app: no command of another one inherits them. Only grows.
pub(super) type SecretVariables = Arc<RwLock<BTreeSet<String>>>;

/// A command, run without a shell each time the kept token is old.
#[derive(Debug)]
pub(super) struct CommandSource {
    argv: CommandLine,
    pointers: TokenPointers,
    secrets: SecretVariables,
}

impl CommandSource {
    pub(super) fn new(
        argv: CommandLine,
        pointers: TokenPointers,
        secrets: SecretVariables,
    ) -> Self {
        Self {
            argv,
            pointers,
            secrets,
        }
    }

    pub(super) fn place(&self) -> Place {
        Place::Command(self.argv.program().to_owned())
    }

    pub(super) async fn read(&self, limit: Duration) -> Result<Obtained, Error> {
        match tokio::time::timeout(limit, self.output()).await {
            // Dropping what runs kills it.
            Err(_) => Err(Error::Late {
                place: self.place(),
                limit,
            }),
            Ok(output) => {
                let found =
                    form::find(&output?, &self.pointers).map_err(|why| self.unusable(why))?;
                Ok(Obtained::found_now(found, SystemTime::now()))
            }
        }
    }

    async fn output(&self) -> Result<Vec<u8>, Error> {
        let spawned = self.command().spawn();
        let mut running = Running(spawned.map_err(|error| Error::Settings {
            place: self.place(),
            what: "it can't be started; see that the program is there and the exporter's user may run it"
                .into(),
            source: Some(Arc::new(error)),
        })?);
        let broken = |error| Error::Unreachable {
            place: self.place(),
            source: Arc::new(error),
        };
        let stdout = running.0.stdout.take().expect("standard output is piped");
        let mut stdout = stdout.take(TEXT_MAX as u64 + 1);
        let mut output = Vec::new();
        let ended = tokio::select! {
            // What is there is read before the end is looked at.
            biased;
            read = read_to_end(&mut stdout, &mut output) => read.map(|()| None),
            status = running.0.wait() => status.map(Some),
        };
        let ended = ended.map_err(broken)?;
        if ended.is_some() {
            // What the command leaves running can hold the pipe open as long as it likes.
            let rest = read_to_end(&mut stdout, &mut output);
            if let Ok(read) = tokio::time::timeout(REST, rest).await {
                read.map_err(broken)?;
            }
        }
        if output.len() > TEXT_MAX {
            return Err(self.unusable(Unusable::TooLong));
        }
        let status = match ended {
            Some(status) => status,
            None => running.0.wait().await.map_err(broken)?,
        };
        if status.success() {
            Ok(output)
        } else {
            Err(self.unusable(Unusable::Exit(status)))
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.argv.program());
        command
            .args(self.argv.expose_arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Tools print requests and answers there when something fails: no place in a log.
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        for name in self.not_inherited() {
            command.env_remove(name);
        }
        command
    }

    fn not_inherited(&self) -> Vec<OsString> {
        let own = env::vars_os().map(|(name, _)| name).filter(|name| {
            name.as_encoded_bytes()
                .starts_with(OWN_VARIABLES.as_bytes())
        });
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        own.chain(secrets.iter().map(OsString::from)).collect()
    }

    fn unusable(&self, why: Unusable) -> Error {
        Error::Unusable {
            place: self.place(),
            why,
        }
    }
}

/// Reads on where the reading before was broken off.
async fn read_to_end(
    stdout: &mut (impl AsyncRead + Unpin),
    output: &mut Vec<u8>,
) -> io::Result<()> {
    while stdout.read_buf(output).await? > 0 {}
    Ok(())
}

/// A command that is killed where nobody waits for its end, with all that it started: a script's `curl` would hang on.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // `None` once it has ended and been waited for; the number can belong to another process then.
        let group = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = group.and_then(Pid::from_raw) {
            // It can have ended by itself just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::kill_process;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::wechat::Reason;

    const LONG: Duration = Duration::from_secs(60);

    fn source(argv: &[&str]) -> CommandSource {
        let (program, arguments) = argv.split_first().unwrap();
        let argv = CommandLine::new(*program, arguments.iter().map(ToString::to_string));
        CommandSource::new(argv, TokenPointers::default(), SecretVariables::default())
    }

    fn shell(script: &str) -> CommandSource {
        source(&["sh", "-c", script])
    }

    async fn read(source: &CommandSource) -> Result<String, Error> {
        let obtained = source.read(LONG).await?;
        Ok(obtained.token.secret.expose_secret().to_owned())
    }

    #[tokio::test]
    async fn standard_output_is_the_token_or_json() {
        assert_eq!(read(&source(&["echo", "tok"])).await.unwrap(), "tok");
        let json = r#"{"access_token":"tok","expires_in":7200}"#;
        let obtained = source(&["echo", json]).read(LONG).await.unwrap();
        assert_eq!(obtained.token.secret.expose_secret(), "tok");
        assert!(obtained.token.expires.is_some());
    }

    #[tokio::test]
    async fn arguments_reach_no_shell() {
        let error = read(&source(&["echo", "$HOME;id"])).await.unwrap_err();
        assert!(error.to_string().contains("characters that no token has"));
    }

    #[tokio::test]
    async fn failed_command_is_named_with_its_status_and_neither_arguments_nor_output() {
        let failing = shell("echo canary; echo canary >&2; exit 3");
        let error = read(&failing).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Token);
        assert_eq!(
            error.to_string(),
            "token command sh gives no token: it ended with exit status: 3; run it by hand to see what it says"
        );
        assert!(!format!("{error:?} {failing:?}").contains("canary"));
    }

    #[tokio::test]
    async fn command_that_does_not_exist_is_for_the_operator_to_mend() {
        let error = read(&source(&["/nonexistent/command"])).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Config);
        let cure = "the exporter's user may run it";
        assert!(error.to_string().contains(cure), "{error}");
    }

    #[tokio::test]
    async fn endless_output_is_cut_off() {
        let error = read(&source(&["yes"])).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "token command yes gives no token: it is too long for a token"
        );
    }

    #[tokio::test]
    async fn hanging_command_is_late_and_killed_with_all_that_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let script = format!(
            "sleep 600 & echo $! $$ > {0}.new; mv {0}.new {0}; wait",
            pids.display()
        );
        let hanging = shell(&script);
        let running = tokio::spawn(async move { hanging.read(LONG).await });
        let mut started = None;
        for _ in 0..600 {
            started = std::fs::read_to_string(&pids).ok();
            if started.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        running.abort();
        let started = started.expect("the script should have started");
        assert_eq!(started.split_whitespace().count(), 2);
        for pid in started.split_whitespace() {
            assert!(ends(pid).await, "{pid} still runs");
        }
    }

    #[tokio::test]
    async fn command_that_leaves_a_process_behind_gives_its_token_at_its_own_end() {
        let token = read(&shell("sleep 600 & echo tok$!")).await.unwrap();
        let pid = token.strip_prefix("tok").unwrap().parse().unwrap();
        // Still there: some tools keep an agent so.
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn command_that_never_ends_is_late() {
        let hanging = source(&["sleep", "600"]);
        let error = hanging.read(Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Timeout);
    }

    /// Whether a process that was killed ends: it is gone, or a zombie until somebody waits for it.
    async fn ends(pid: &str) -> bool {
        for _ in 0..600 {
            match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
                Ok(stat) if !stat.contains(") Z ") => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                _ => return true,
            }
        }
        false
    }

    #[tokio::test]
    async fn command_inherits_no_secret() {
        // A variable that is there in every test stands for an app's `secret_env`.
        let source = shell("echo x${CARGO_PKG_NAME}x${CARGO_MANIFEST_DIR:+kept}");
        assert_eq!(
            read(&source).await.unwrap(),
            "xwechat-logistics-exporterxkept"
        );
        let name = "CARGO_PKG_NAME".to_owned();
        source.secrets.write().unwrap().insert(name);
        assert_eq!(read(&source).await.unwrap(), "xxkept");
    }
}
