//! A token in Redis or Valkey, where SDKs of other languages keep theirs.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::{Cause, Error, Place, Unusable};
use super::form;
use crate::clock::from_unix_millis;
use crate::config::RedisTokenConfig;
use crate::redis::{Client, Error as RedisError};
use crate::wechat::AccessToken;

/// A token is used this long after its end by the source's own word.
///
/// SDKs write the end down to 200 s (WxJava) too early, and a token that WeChat replaced works for 5 minutes more.
const ENDED_GRACE: Duration = Duration::from_secs(300);

/// A key, read each time its token is needed.
#[derive(Debug)]
pub(super) struct RedisSource {
    config: RedisTokenConfig,
    client: Client,
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
            client: Client::new(config.url.clone(), config.password_file.clone()),
            config,
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
        let value = self.value(limit).await;
        self.find(value.map_err(|error| self.fault(error))?)
    }

    async fn value(&self, limit: Duration) -> Result<Value, RedisError> {
        let RedisTokenConfig {
            key,
            field,
            expire_field,
            ..
        } = &self.config;
        let mut value = Value::default();
        match (field, expire_field) {
            (None, _) => {
                let get = redis::cmd("GET").arg(key).take();
                value.text = self.client.run(&get, limit).await?;
            }
            (Some(field), None) => {
                let get = redis::cmd("HGET").arg(key).arg(field).take();
                value.text = self.client.run(&get, limit).await?;
            }
            (Some(field), Some(expire_field)) => {
                let get = redis::cmd("HMGET")
                    .arg(key)
                    .arg(field)
                    .arg(expire_field)
                    .take();
                (value.text, value.expire) = self.client.run(&get, limit).await?;
            }
        }
        // A user with the least permissions may not be allowed this; then the end is unknown.
        let pttl = redis::cmd("PTTL").arg(key).take();
        value.ttl = match self.client.run::<i64>(&pttl, limit).await {
            Ok(millis) => u64::try_from(millis).ok().map(Duration::from_millis),
            Err(RedisError::Refused(_)) => None,
            Err(error) => return Err(error),
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

    /// What to do about an error of the server or the way to it.
    fn fault(&self, error: RedisError) -> Error {
        let what = match &error {
            RedisError::Timeout(limit) => {
                return Error::Late {
                    place: self.place(),
                    limit: *limit,
                };
            }
            RedisError::PasswordFile(cause) => {
                return self.settings(error.to_string(), Some(Arc::clone(cause)));
            }
            RedisError::Url | RedisError::Login | RedisError::Database => {
                return self.settings(error.to_string(), None);
            }
            RedisError::Refused(code) if code == "NOPERM" => {
                "its user may not read this key; give it the permission"
            }
            RedisError::Refused(code) if code == "WRONGTYPE" && self.config.field.is_some() => {
                "the key holds no hash; leave `field` away"
            }
            RedisError::Refused(code) if code == "WRONGTYPE" => {
                "the key holds no plain value; a hash needs `field`"
            }
            _ => {
                return Error::Unreachable {
                    place: self.place(),
                    source: Arc::new(error),
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

    fn unusable(&self, why: Unusable) -> Error {
        Error::Unusable {
            place: self.place(),
            why,
        }
    }
}

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
        let server = Server::start(&[]);
        let no_such_database = format!("redis://127.0.0.1:{}/99", server.port());
        for url in [
            "canary",
            "http://canary@host/",
            "redis://:canary@host/notanumber",
            &no_such_database,
        ] {
            let error = read(config(url.to_owned(), "key")).await.unwrap_err();
            assert_eq!(error.reason(), Reason::Config);
            assert!(!shown(&error).contains("canary"), "{}", shown(&error));
        }
    }
}
