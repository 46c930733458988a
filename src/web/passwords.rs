//! Basic authentication: checks a user's password against a bcrypt hash.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio::sync::Semaphore;

use crate::blocking;

/// The number of correct passwords remembered, so that most scrapes need no bcrypt. exporter-toolkit keeps as many.
const REMEMBERED: usize = 100;

/// The number of checks that may run or wait. Each takes about 50 ms of one core, so the last waits a few seconds.
const MAX_CHECKS: usize = 64;

/// Checks one password at a time, so that a flood of wrong ones takes one core and leaves the others to the scrapes.
pub(super) struct Passwords {
    /// A random key, generated when the process starts and never stored.
    key: hmac::Key,
    /// The tags of users with their correct passwords, oldest first. The passwords themselves aren't kept.
    right: Mutex<VecDeque<hmac::Tag>>,
    checks: Semaphore,
    one_at_a_time: Arc<tokio::sync::Mutex<()>>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system has random numbers");
        Self {
            key,
            right: Mutex::default(),
            checks: Semaphore::new(MAX_CHECKS),
            one_at_a_time: Arc::default(),
        }
    }

    /// Admits a request whose `Authorization` names one of the users with the correct password.
    pub(super) async fn check(
        &self,
        users: &BTreeMap<String, SecretString>,
        authorization: Option<&HeaderValue>,
    ) -> Result<(), StatusCode> {
        let (user, password) = authorization
            .and_then(|header| credentials(header.as_bytes()))
            .ok_or(StatusCode::UNAUTHORIZED)?;
        let known = std::str::from_utf8(&user)
            .ok()
            .and_then(|user| users.get(user));
        // An unknown user takes as long as a wrong password: another user's hash is checked and the result ignored.
        let Some(hash) = known.or_else(|| users.values().next()) else {
            return Err(StatusCode::UNAUTHORIZED);
        };
        let tag = self.tag(&user, hash, &password);
        if known.is_some() && self.is_remembered(&tag) {
            return Ok(());
        }
        let is_right = self.verify(password, hash.clone()).await?;
        if !is_right || known.is_none() {
            return Err(StatusCode::UNAUTHORIZED);
        }
        self.remember(tag);
        Ok(())
    }

    async fn verify(
        &self,
        password: SecretSlice<u8>,
        hash: SecretString,
    ) -> Result<bool, StatusCode> {
        let _check = self
            .checks
            .try_acquire()
            .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        let turn = Arc::clone(&self.one_at_a_time).lock_owned().await;
        let is_right = blocking::run(move || {
            // Held until the check ends, even if the client has disconnected by then.
            let _turn = turn;
            bcrypt::verify(password.expose_secret(), hash.expose_secret()).unwrap_or(false)
        });
        Ok(is_right.await)
    }

    fn tag(&self, user: &[u8], hash: &SecretString, password: &SecretSlice<u8>) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(user);
        // Neither users nor hashes contain a colon, so no other three parts produce the same bytes.
        context.update(b":");
        context.update(hash.expose_secret().as_bytes());
        context.update(b":");
        context.update(password.expose_secret());
        context.sign()
    }

    fn is_remembered(&self, tag: &hmac::Tag) -> bool {
        let right = self.right.lock();
        right.iter().any(|right| right.as_ref() == tag.as_ref())
    }

    fn remember(&self, tag: hmac::Tag) {
        if self.is_remembered(&tag) {
            return;
        }
        let mut right = self.right.lock();
        right.push_back(tag);
        if right.len() > REMEMBERED {
            right.pop_front();
        }
    }
}

/// Parses the user and the password of `Basic dXNlcjpwYXNz` (RFC 7617).
fn credentials(header: &[u8]) -> Option<(Vec<u8>, SecretSlice<u8>)> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let password = decoded.split_off(colon + 1);
    decoded.pop();
    Some((decoded, password.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(user: &str, password: &str) -> HeaderValue {
        let text = STANDARD.encode(format!("{user}:{password}"));
        HeaderValue::from_str(&format!("Basic {text}")).unwrap()
    }

    fn users() -> BTreeMap<String, SecretString> {
        // The lowest cost that bcrypt has, to keep the tests fast.
        let hash = |password: &str| bcrypt::hash(password, 4).unwrap().into();
        BTreeMap::from([
            ("ann".to_owned(), hash("a:b")),
            ("bob".to_owned(), hash("b")),
        ])
    }

    #[tokio::test]
    async fn new_hash_shuts_a_remembered_password_out() {
        let (passwords, mut users) = (Passwords::new(), users());
        // The second time, the password is remembered.
        for _ in 0..2 {
            let checked = passwords.check(&users, Some(&header("ann", "a:b"))).await;
            assert_eq!(checked, Ok(()));
        }
        users.insert("ann".to_owned(), bcrypt::hash("new", 4).unwrap().into());
        let checked = passwords.check(&users, Some(&header("ann", "a:b"))).await;
        assert_eq!(checked, Err(StatusCode::UNAUTHORIZED));
    }

    #[tokio::test]
    async fn password_that_several_requests_bring_at_once_is_remembered_once() {
        let (passwords, users) = (Passwords::new(), users());
        let header = header("bob", "b");
        let checks = (0..3).map(|_| passwords.check(&users, Some(&header)));
        let checked = futures_util::future::join_all(checks).await;
        assert_eq!(checked, [Ok(()); 3]);
        assert_eq!(passwords.right.lock().len(), 1);
    }

    #[tokio::test]
    async fn flood_of_wrong_passwords_is_turned_away_and_remembered_users_are_let_in() {
        let (passwords, users) = (Passwords::new(), users());
        let right = header("bob", "b");
        assert_eq!(passwords.check(&users, Some(&right)).await, Ok(()));
        let _busy = passwords.one_at_a_time.lock().await;
        let wrong = header("bob", "wrong");
        let mut checks: Vec<_> = (0..MAX_CHECKS)
            .map(|_| Box::pin(passwords.check(&users, Some(&wrong))))
            .collect();
        for check in &mut checks {
            assert!(futures_util::poll!(check).is_pending());
        }
        let last = passwords.check(&users, Some(&wrong)).await;
        assert_eq!(last, Err(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(passwords.check(&users, Some(&right)).await, Ok(()));
    }
}
