//! A token in Redis or Valkey, where SDKs of other languages keep theirs. Read each time it is needed.

use std::time::{Duration, SystemTime};

use super::SOURCE_TIMEOUT;
use super::error::Error;
use super::parse;
use crate::clock::from_unix_millis;
use crate::config::RedisTokenConfig;
use crate::redis::{Client, Error as RedisError};
use crate::wechat::AccessToken;

/// A token is used this long after its end by the source's own word.
///
/// SDKs write the end down to 200 s (WxJava) too early, and a token that WeChat replaced works for 5 minutes more.
const ENDED_GRACE: Duration = Duration::from_secs(300);

pub(super) async fn read(config: &RedisTokenConfig, client: &Client) -> Result<AccessToken, Error> {
    let now = SystemTime::now();
    let asked = tokio::try_join!(value(config, client), time_left(config, client));
    let ((text, expire), time_left) = asked.map_err(|error| describe(error, config))?;
    let Some(text) = text else {
        return Err(Error::no_token(
            "there is nothing there; the program that keeps the token has written none, or under another key",
        ));
    };
    let end = expire.as_deref().and_then(unix_millis);
    if let Some(ended) = end.and_then(|end| now.duration_since(end).ok())
        && ended > ENDED_GRACE
    {
        return Err(Error::no_token(format!(
            "its token ended {} s ago; the program that keeps it has stopped",
            ended.as_secs()
        )));
    }
    // Seconds beside the token say nothing: nobody knows when they were stored.
    let mut token = parse::find(&text, &config.pointers, None)?;
    token.expires = end.or_else(|| now.checked_add(time_left?));
    Ok(token)
}

/// The text with the token, and the content of `expire_field`.
async fn value(
    config: &RedisTokenConfig,
    client: &Client,
) -> Result<(Option<Vec<u8>>, Option<Vec<u8>>), RedisError> {
    let Some(field) = &config.field else {
        let get = redis::cmd("GET").arg(&config.key).take();
        return Ok((client.run(&get, SOURCE_TIMEOUT).await?, None));
    };
    let expire_field = config.expire_field.as_ref().unwrap_or(field);
    let mut get = redis::cmd("HMGET");
    get.arg(&config.key).arg(field).arg(expire_field);
    let (text, expire): (_, Option<_>) = client.run(&get, SOURCE_TIMEOUT).await?;
    Ok((text, expire.filter(|_| config.expire_field.is_some())))
}

/// That the key has; `None` where it doesn't end, or the user may not ask.
async fn time_left(
    config: &RedisTokenConfig,
    client: &Client,
) -> Result<Option<Duration>, RedisError> {
    let pttl = redis::cmd("PTTL").arg(&config.key).take();
    match client.run::<i64>(&pttl, SOURCE_TIMEOUT).await {
        Ok(millis) => Ok(u64::try_from(millis).ok().map(Duration::from_millis)),
        Err(RedisError::Refused(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn unix_millis(text: &[u8]) -> Option<SystemTime> {
    let millis = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    // 0 is how some SDKs write "none".
    from_unix_millis(millis).filter(|_| millis > 0)
}

fn describe(error: RedisError, config: &RedisTokenConfig) -> Error {
    match &error {
        RedisError::PasswordFile(_) => Error::settings(
            "its password_file must be a file with one line that the exporter's user may read",
        )
        .because(error),
        RedisError::Url | RedisError::Login | RedisError::Database => Error::settings(error),
        RedisError::Refused(code) if code == "NOPERM" => {
            Error::settings("its user may not read this key; give it the permission")
        }
        RedisError::Refused(code) if code == "WRONGTYPE" => Error::settings(match config.field {
            Some(_) => "the key does not hold a hash; remove `field`",
            None => "the key does not hold a plain value; set `field` if it is a hash",
        }),
        _ => Error::unreachable().because(error),
    }
}
