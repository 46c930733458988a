//! The way to a Redis or Valkey server: the login that the settings name, and errors that can be shown.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
};
use secrecy::ExposeSecret;

use crate::blocking::BlockingReads;
use crate::config::{SecretSource, SecretUrl};

/// What to do where [`refuses_login`].
pub(crate) const LOGIN_REFUSED: &str =
    "it refuses the login; mend the user in the URL or the password";

/// A server and the login to it.
#[derive(Debug)]
pub(crate) struct RedisServer {
    url: SecretUrl,
    password_file: Option<PathBuf>,
    aside: BlockingReads,
}

/// There is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unconnected {
    /// Mend the settings.
    #[error("its URL is none of redis:// or rediss://")]
    Url,
    /// Mend the file or its permissions.
    #[error("its password_file can't be read")]
    Password(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// See [`shown`]: the server's own text stays with us.
    #[error("the server gives no connection")]
    Server(RedisError),
}

impl RedisServer {
    pub(crate) fn new(url: SecretUrl, password_file: Option<PathBuf>) -> Self {
        Self {
            url,
            password_file,
            aside: BlockingReads::default(),
        }
    }

    /// A new connection. `limit` is for connecting and, on it, for each answer.
    pub(crate) async fn connect(
        &self,
        limit: Duration,
    ) -> Result<MultiplexedConnection, Unconnected> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit));
        let client = Client::open(self.info().await?).map_err(Unconnected::Server)?;
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        connection.await.map_err(Unconnected::Server)
    }

    /// The server as the settings name it, with the password as its file holds it now.
    async fn info(&self) -> Result<ConnectionInfo, Unconnected> {
        // The crate's own error may show the text that is no URL.
        let Ok(server) = self.url.expose().into_connection_info() else {
            return Err(Unconnected::Url);
        };
        let Some(file) = self.password_file.clone() else {
            return Ok(server);
        };
        let read = self.aside.run(move || SecretSource::File(file).read());
        let password = read
            .await
            .map_err(|hanging| Unconnected::Password(Arc::new(hanging)))?
            .map_err(|error| Unconnected::Password(Arc::new(error)))?;
        let login = server.redis_settings().clone();
        Ok(server.set_redis_settings(login.set_password(password.expose_secret())))
    }
}

/// Whether the server doesn't take the user or the password.
pub(crate) fn refuses_login(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}

/// What an error says that can be shown.
///
/// The server's own text can't: some servers repeat the command they refuse, and so the password.
pub(crate) fn shown(error: &RedisError) -> String {
    match error.code() {
        _ if error.is_io_error() => error.to_string(),
        Some(code) => format!("the server answered {code}"),
        None => error.category().to_owned(),
    }
}
