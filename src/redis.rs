//! The Redis client: one connection to a Redis or Valkey server, opened when it is needed and reopened after it breaks.

use std::path::PathBuf;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo,
    RedisError,
};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;

use crate::blocking::BlockingReads;
use crate::config::{ConfigError, SecretSource, SecretUrl};

/// The error with which a server refuses writes after another server has taken its place.
const READ_ONLY: &str = "READONLY";

/// A client of one server, with the login to it. The commands of all tasks share one connection.
pub(crate) struct Client {
    url: SecretUrl,
    password_file: Option<PathBuf>,
    connection: Mutex<Option<MultiplexedConnection>>,
    password_reads: BlockingReads,
}

/// Why a command has no answer. The server's own text is left out: some servers repeat the command that they refuse,
/// and with it the password.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("its URL is not a redis:// or rediss:// URL that can be used")]
    Url,
    #[error("it has no database of the number in the URL")]
    Database,
    #[error("its password_file can't be read")]
    PasswordFile(#[source] ConfigError),
    #[error("it refuses the login; fix the user in the URL or the password")]
    Login,
    /// The connection could not be opened, or it broke.
    #[error("{0}")]
    Network(String),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The first word of the server's error, for example `NOPERM`, `WRONGTYPE` or `LOADING`.
    #[error("the server answered {0}")]
    Refused(String),
    #[error("the answer is not of the type that was asked for")]
    Type,
}

impl Error {
    /// Reports whether a new connection may help: it may also lead to another server, as after a failover.
    fn wants_another_connection(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Network(_) | Self::Login => true,
            Self::Refused(code) => code == READ_ONLY,
            _ => false,
        }
    }
}

impl Client {
    /// Creates a client, which connects with its first command.
    pub(crate) fn new(url: SecretUrl, password_file: Option<PathBuf>) -> Self {
        Self {
            url,
            password_file,
            connection: Mutex::default(),
            password_reads: BlockingReads::of_secrets(),
        }
    }

    /// Runs a command; scripts are run with `EVAL`. `limit` includes the time to connect.
    ///
    /// A command whose connection breaks is sent once more, so the server may run it twice.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        command: &Cmd,
        limit: Duration,
    ) -> Result<T, Error> {
        let answer = match tokio::time::timeout(limit, self.send(command)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout(limit)),
        };
        if answer.as_ref().is_err_and(Error::wants_another_connection)
            // If the lock is held, another task is already reconnecting.
            && let Ok(mut connection) = self.connection.try_lock()
        {
            *connection = None;
        }
        T::from_redis_value(answer?).map_err(|_| Error::Type)
    }

    async fn send(&self, command: &Cmd) -> Result<redis::Value, Error> {
        let kept = self.connection.lock().await.clone();
        if let Some(mut connection) = kept {
            match command.query_async(&mut connection).await {
                Err(error) if error.is_connection_dropped() => {
                    *self.connection.lock().await = None;
                }
                answer => return answer.map_err(|error| describe(&error)),
            }
        }
        let mut connection = self.connect().await?;
        let answer = command.query_async(&mut connection).await;
        answer.map_err(|error| describe(&error))
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Error> {
        // Held while connecting, on purpose: the other tasks wait for this connection.
        let mut kept = self.connection.lock().await;
        if let Some(connection) = &*kept {
            return Ok(connection.clone());
        }
        let client = redis::Client::open(self.server().await?).map_err(|_| Error::Url)?;
        // `run` enforces the time limit.
        let unlimited = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let connecting = client.get_multiplexed_async_connection_with_config(&unlimited);
        let connection = connecting.await.map_err(|error| describe(&error))?;
        Ok(kept.insert(connection).clone())
    }

    /// Returns the server with the password that its file holds now, so that a rotated password needs no restart.
    async fn server(&self) -> Result<ConnectionInfo, Error> {
        // The crate's own error may show the URL.
        let server = self.url.expose().as_str().into_connection_info();
        let server = server.map_err(|_| Error::Url)?;
        let Some(file) = self.password_file.clone() else {
            return Ok(server);
        };
        let read = self.password_reads.run(|| SecretSource::File(file).read());
        let password = read.await.map_err(Error::PasswordFile)?;
        let login = server.redis_settings().clone();
        Ok(server.set_redis_settings(login.set_password(password.expose_secret())))
    }
}

fn describe(error: &RedisError) -> Error {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return Error::Login;
    }
    if error.is_io_error() {
        return Error::Network(error.to_string());
    }
    match error.code() {
        Some("NOAUTH" | "WRONGPASS") => Error::Login,
        Some("ERR") => describe_text(error.detail().unwrap_or_default()),
        Some(code) => Error::Refused(code.to_owned()),
        None => Error::Network(error.category().to_owned()),
    }
}

/// Describes an error that has no code. Before Redis 7, that is any error that stops a script: its text has the code.
fn describe_text(text: &str) -> Error {
    if text.contains("Authentication required") {
        return Error::Login;
    }
    if text.contains("DB index is out of range") {
        return Error::Database;
    }
    let codes = [
        ("WRONGTYPE", "WRONGTYPE"),
        (READ_ONLY, READ_ONLY),
        ("NOPERM", "NOPERM"),
        ("ACL failure", "NOPERM"),
        ("The user executing the script", "NOPERM"),
    ];
    let code = codes.into_iter().find(|(sign, _)| text.contains(sign));
    Error::Refused(code.map_or("ERR", |(_, code)| code).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis_server::Server;

    const LONG: Duration = Duration::from_secs(60);

    async fn ping(client: &Client, limit: Duration) -> Result<String, Error> {
        client.run(&redis::cmd("PING"), limit).await
    }

    #[tokio::test]
    async fn connection_is_kept_and_made_again_after_it_broke() {
        let server = Server::start(&[]);
        let mut other = server.connect().await;
        let mut connections = async || {
            let info: redis::InfoDict = redis::cmd("INFO").query_async(&mut other).await.unwrap();
            info.get::<u64>("total_connections_received").unwrap()
        };
        let client = Client::new(SecretUrl::new(server.url().parse().unwrap()), None);
        ping(&client, LONG).await.unwrap();
        let before = connections().await;
        ping(&client, LONG).await.unwrap();
        assert_eq!(connections().await, before);
        let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
        server.run(&kill).await;
        ping(&client, LONG).await.unwrap();
    }

    #[tokio::test]
    async fn server_that_hangs_is_given_up_in_time_and_answers_again_later() {
        let server = Server::start(&[]);
        let client = Client::new(SecretUrl::new(server.url().parse().unwrap()), None);
        ping(&client, LONG).await.unwrap();
        server.freeze();
        let hanging = ping(&client, Duration::from_millis(100)).await;
        assert!(matches!(hanging, Err(Error::Timeout(_))), "{hanging:?}");
        server.thaw();
        assert_eq!(ping(&client, LONG).await.unwrap(), "PONG");
    }
}
