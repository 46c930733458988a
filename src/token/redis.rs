//! A token in Redis or Valkey, where SDKs of other languages keep theirs.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError};
use tokio::sync::Mutex;

use super::error::{Cause, Error, Place, Unusable};
use super::form;
use crate::clock::from_unix_millis;
use crate::config::RedisTokenConfig;
use crate::redis_connection::{LOGIN_REFUSED, RedisServer, Unconnected, refuses_login, shown};
use crate::wechat::AccessToken;

/// A token is used this long after its end by the source's own word.
///
/// SDKs write the end down to 200 s (WxJava) too early, and a token that WeChat replaced works for 5 minutes more.
const ENDED_GRACE: Duration = Duration::from_secs(300);

/// A key, read each time its token is needed.
pub(super) struct RedisSource {
    config: RedisTokenConfig,
    server: RedisServer,
    /// Kept from reading to reading; taken out while in use, so that one that hangs is not used again.
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl fmt::Debug for RedisSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSource")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What Redis says of the key.
#[derive(Default)]
struct Value {
    text: Option<Vec<u8>>,
    /// Content of `expire_field`.
    expire: Option<Vec<u8>>,
    /// Time that the key itself has left.
    ttl: Option<Duration>,
}

impl RedisSource {
    pub(super) fn new(config: RedisTokenConfig) -> Self {
        Self {
            server: RedisServer::new(config.url.clone(), config.password_file.clone()),
            config,
            connection: Mutex::new(None),
        }
    }

    pub(super) fn place(&self) -> Place {
        Place::Redis {
            url: self.config.url.clone(),
            key: self.config.key.clone(),
            field: self.config.field.clone(),
        }
    }

    pub(super) async fn read(&self, limit: Duration) -> Result<AccessToken, Error> {
        match tokio::time::timeout(limit, self.value(limit)).await {
            Ok(value) => self.find(value?),
            Err(_) => Err(self.late(limit)),
        }
    }

    /// Asks over the kept connection; over a new one where there is none or it broke.
    async fn value(&self, limit: Duration) -> Result<Value, Error> {
        let mut kept = self.connection.lock().await;
        if let Some(mut connection) = kept.take()
            && let Ok(value) = self.ask(&mut connection).await
        {
            *kept = Some(connection);
            return Ok(value);
        }
        let connected = self.server.connect(limit).await;
        let mut connection = connected.map_err(|why| self.unconnected(why, limit))?;
        let value = self.ask(&mut connection).await;
        let value = value.map_err(|error| self.fault(&error, limit))?;
        *kept = Some(connection);
        Ok(value)
    }

    async fn ask(&self, connection: &mut MultiplexedConnection) -> Result<Value, RedisError> {
        let RedisTokenConfig {
            key,
            field,
            expire_field,
            ..
        } = &self.config;
        let mut value = Value::default();
        match (field, expire_field) {
            (None, _) => value.text = redis::cmd("GET").arg(key).query_async(connection).await?,
            (Some(field), None) => {
                let mut command = redis::cmd("HGET");
                value.text = command.arg(key).arg(field).query_async(connection).await?;
            }
            (Some(field), Some(expire_field)) => {
                let mut command = redis::cmd("HMGET");
                command.arg(key).arg(field).arg(expire_field);
                (value.text, value.expire) = command.query_async(connection).await?;
            }
        }
        // A user with the least permissions may not be allowed this; then the end is unknown.
        let ttl: Result<i64, _> = redis::cmd("PTTL").arg(key).query_async(connection).await;
        value.ttl = match ttl {
            Ok(millis) => u64::try_from(millis).ok().map(Duration::from_millis),
            Err(error) if error.is_io_error() => return Err(error),
            Err(_) => None,
        };
        Ok(value)
    }

    fn find(&self, value: Value) -> Result<AccessToken, Error> {
        let now = SystemTime::now();
        let text = value.text.ok_or_else(|| self.unusable(Unusable::Missing))?;
        let found = form::find(&text, &self.config.pointers).map_err(|why| self.unusable(why))?;
        let written = value.expire.as_deref().and_then(unix_millis);
        if let Some(ended) = written.and_then(|end| now.duration_since(end).ok())
            && ended > ENDED_GRACE
        {
            return Err(self.unusable(Unusable::Ended(ended)));
        }
        // `expires_in` in a stored document was right when it was stored; the key's own rest may be shorter.
        let rest = [found.lifetime, value.ttl].into_iter().flatten().min();
        Ok(AccessToken {
            secret: found.token,
            expires: written.or_else(|| now.checked_add(rest?)),
        })
    }

    fn unconnected(&self, why: Unconnected, limit: Duration) -> Error {
        let what = why.to_string();
        match why {
            Unconnected::Url => self.settings(what, None),
            Unconnected::Password(cause) => self.settings(what, Some(cause)),
            Unconnected::Server(error) => self.fault(&error, limit),
        }
    }

    /// What to do about an error of the server or the way to it.
    fn fault(&self, error: &RedisError, limit: Duration) -> Error {
        if error.is_timeout() {
            return self.late(limit);
        }
        let what = match error.code() {
            _ if refuses_login(error) => LOGIN_REFUSED,
            Some("NOPERM") => "its user may not read this key; give it the permission",
            Some("WRONGTYPE") if self.config.field.is_some() => {
                "the key holds no hash; leave `field` away"
            }
            Some("WRONGTYPE") => "the key holds no plain value; a hash needs `field`",
            _ if error.kind() == ErrorKind::InvalidClientConfig => "its URL can't be used",
            _ => {
                return Error::Unreachable {
                    place: self.place(),
                    source: Arc::new(Said(shown(error))),
                };
            }
        };
        self.settings(what, None)
    }

    fn settings(&self, what: impl Into<Cow<'static, str>>, source: Option<Cause>) -> Error {
        Error::Settings {
            place: self.place(),
            what: what.into(),
            source,
        }
    }

    fn late(&self, limit: Duration) -> Error {
        Error::Late {
            place: self.place(),
            limit,
        }
    }

    fn unusable(&self, why: Unusable) -> Error {
        Error::Unusable {
            place: self.place(),
            why,
        }
    }
}

/// What the Redis client said, where it can be shown.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

fn unix_millis(text: &[u8]) -> Option<SystemTime> {
    let millis = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    // 0 is how some SDKs write "none".
    from_unix_millis(millis).filter(|_| millis > 0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::UNIX_EPOCH;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::{SecretUrl, TokenPointers};
    use crate::error::chain;
    use crate::redis_server::{Server, free_port};
    use crate::wechat::Reason;

    const LONG: Duration = Duration::from_secs(60);

    fn config(url: String, key: &str) -> RedisTokenConfig {
        RedisTokenConfig {
            url: SecretUrl::new(url),
            password_file: None,
            key: key.to_owned(),
            field: None,
            expire_field: None,
            pointers: TokenPointers::default(),
        }
    }

    async fn read(config: RedisTokenConfig) -> Result<String, Error> {
        let token = RedisSource::new(config).read(LONG).await?;
        Ok(token.secret.expose_secret().to_owned())
    }

    /// The error with its causes, as text and as Debug shows it.
    fn shown(error: &Error) -> String {
        format!("{} {error:?}", chain(error))
    }

    #[tokio::test]
    async fn plain_value_ends_with_its_key_and_a_new_one_is_read_at_once() {
        let server = Server::start(&[]);
        server
            .run(&["SET", "wa:access_token:wx1", "old", "PX", "7000000"])
            .await;
        let source = RedisSource::new(config(server.url(), "wa:access_token:wx1"));
        let token = source.read(LONG).await.unwrap();
        assert_eq!(token.secret.expose_secret(), "old");
        let now = SystemTime::now();
        let expires = token.expires.unwrap();
        assert!(expires > now + Duration::from_secs(6000));
        assert!(expires <= now + Duration::from_secs(7000));

        server.run(&["SET", "wa:access_token:wx1", "new"]).await;
        let token = source.read(LONG).await.unwrap();
        assert_eq!(token.secret.expose_secret(), "new");
        assert_eq!(token.expires, None);
    }

    #[tokio::test]
    async fn hash_of_wxjava_gives_value_and_end() {
        let server = Server::start(&[]);
        let config = RedisTokenConfig {
            field: Some("value".to_owned()),
            expire_field: Some("expire".to_owned()),
            ..config(server.url(), "maConfig:m1:accessToken")
        };
        let error = read(config.clone()).await.unwrap_err();
        assert!(
            error.to_string().contains("there is nothing there"),
            "{error}"
        );

        let key = "maConfig:m1:accessToken";
        let end = SystemTime::now() + Duration::from_secs(3600);
        let millis = end
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_millis()
            .to_string();
        server
            .run(&["HSET", key, "value", "tok", "expire", &millis])
            .await;
        let token = RedisSource::new(config.clone()).read(LONG).await.unwrap();
        assert_eq!(token.secret.expose_secret(), "tok");
        assert_eq!(token.expires, from_unix_millis(millis.parse().unwrap()));

        // Without its end the value still serves.
        let value_alone = RedisTokenConfig {
            expire_field: None,
            ..config.clone()
        };
        assert_eq!(read(value_alone).await.unwrap(), "tok");

        server.run(&["HSET", key, "expire", "1700000000000"]).await;
        let error = read(config).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Token);
        assert!(error.to_string().contains("its token ended"), "{error}");
    }

    #[tokio::test]
    async fn json_values_are_read_and_end_no_later_than_their_key() {
        let server = Server::start(&[]);
        server
            .run(&["SET", "wechatpy:wx1_access_token", "\"tok\""])
            .await;
        let token = read(config(server.url(), "wechatpy:wx1_access_token")).await;
        assert_eq!(token.unwrap(), "tok");

        let json = r#"{"access_token":"tok","expires_in":7200}"#;
        server.run(&["SET", "json", json, "EX", "100"]).await;
        let token = RedisSource::new(config(server.url(), "json"))
            .read(LONG)
            .await;
        let expires = token.unwrap().expires.unwrap();
        assert!(expires <= SystemTime::now() + Duration::from_secs(100));
    }

    #[tokio::test]
    async fn value_of_another_type_says_what_to_set() {
        let server = Server::start(&[]);
        server.run(&["HSET", "hash", "value", "tok"]).await;
        server.run(&["SET", "plain", "tok"]).await;
        let error = read(config(server.url(), "hash")).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Config);
        assert!(
            error.to_string().contains("a hash needs `field`"),
            "{error}"
        );
        let as_hash = RedisTokenConfig {
            field: Some("value".to_owned()),
            ..config(server.url(), "plain")
        };
        let error = read(as_hash).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Config);
        assert!(error.to_string().contains("leave `field` away"), "{error}");
    }

    #[tokio::test]
    async fn password_is_read_from_its_file_and_a_refused_login_shows_none() {
        let server = Server::start(&["--requirepass", "canary"]);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        let config = RedisTokenConfig {
            password_file: Some(file.clone()),
            ..config(server.url(), "key")
        };
        let error = read(config.clone()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Config);
        assert!(
            shown(&error).contains("password_file can't be read"),
            "{error}"
        );

        std::fs::write(&file, "wrong-canary\n").unwrap();
        let error = read(config.clone()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Config);
        assert!(error.to_string().contains("refuses the login"), "{error}");
        assert!(!shown(&error).contains("canary"), "{}", shown(&error));

        std::fs::write(&file, "canary\n").unwrap();
        let error = read(config).await.unwrap_err();
        assert!(
            error.to_string().contains("there is nothing there"),
            "{error}"
        );

        let none = read(self::config(server.url(), "key")).await.unwrap_err();
        assert!(none.to_string().contains("refuses the login"), "{none}");
    }

    #[tokio::test]
    async fn user_that_may_only_get_the_key_is_enough() {
        let server = Server::start(&[]);
        server.run(&["SET", "key", "tok", "EX", "100"]).await;
        server
            .run(&["ACL", "SETUSER", "exporter", "on", ">pw", "~key", "+get"])
            .await;
        let url = format!("redis://exporter:pw@127.0.0.1:{}/", server.port());
        assert_eq!(read(config(url.clone(), "key")).await.unwrap(), "tok");
        let error = read(config(url, "other")).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Config);
        assert!(
            error.to_string().contains("may not read this key"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn connection_is_kept_and_made_again_when_it_breaks() {
        let server = Server::start(&[]);
        server.run(&["SET", "key", "tok"]).await;
        let source = RedisSource::new(config(server.url(), "key"));
        let mut other = server.connect().await;
        let mut connections = async || {
            let info: redis::InfoDict = redis::cmd("INFO").query_async(&mut other).await.unwrap();
            info.get::<u64>("total_connections_received").unwrap()
        };
        source.read(LONG).await.unwrap();
        let once = connections().await;
        source.read(LONG).await.unwrap();
        assert_eq!(connections().await, once);

        server
            .run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            .await;
        source.read(LONG).await.unwrap();
    }

    #[tokio::test]
    async fn server_that_is_away_is_named_without_its_password() {
        let port = free_port();
        let url = format!("redis://user:canary@127.0.0.1:{port}/0?x=canary");
        let error = read(config(url, "key")).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Network);
        let sentence = format!("Redis key key at redis://127.0.0.1:{port} can't be reached");
        assert!(shown(&error).starts_with(&sentence), "{}", shown(&error));
        assert!(!shown(&error).contains("canary"), "{}", shown(&error));
    }

    #[tokio::test]
    async fn server_that_never_answers_is_late() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let source = RedisSource::new(config(url, "key"));
        let error = source.read(Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Timeout);
    }

    #[tokio::test]
    async fn server_that_repeats_the_password_it_refuses_is_not_quoted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://:canary@{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            while let Ok(read) = stream.read(&mut asked)
                && read > 0
            {
                // A refusal for each command; commands come many at a time and begin with a star.
                let commands = asked[..read].iter().filter(|&&byte| byte == b'*').count();
                let refusal = "-ERR unknown command `AUTH`, with args beginning with: `canary`\r\n";
                let written = stream.write_all(refusal.repeat(commands).as_bytes());
                if written.is_err() {
                    return;
                }
            }
        });
        let error = read(config(url, "key")).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Config);
        assert!(!shown(&error).contains("canary"), "{}", shown(&error));
    }

    #[tokio::test]
    async fn tls_to_a_server_that_speaks_none_fails_as_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("rediss://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"-ERR unknown command\r\n").unwrap();
        });
        let error = read(config(url, "key")).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Network);
    }

    #[tokio::test]
    async fn text_that_is_no_redis_url_is_for_the_operator_to_mend() {
        for url in [
            "canary",
            "http://canary@host/",
            "redis://:canary@host/notanumber",
        ] {
            let error = read(config(url.to_owned(), "key")).await.unwrap_err();
            assert_eq!(error.reason(), Reason::Config);
            assert!(!shown(&error).contains("canary"), "{}", shown(&error));
        }
    }
}
