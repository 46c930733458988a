//! Basic authentication: a user's password against a bcrypt hash.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use ring::hmac;
use ring::rand::SystemRandom;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio::sync::Semaphore;

/// Passwords known to be right, so that a scrape does not pay for bcrypt each time. As many as exporter-toolkit keeps.
const REMEMBERED: usize = 100;

/// Checks that may wait for their turn. Each takes some 50 ms of one core, so the last one waits a few seconds.
const WAITING: usize = 64;

/// Checks passwords: one at a time, so that a flood of wrong ones leaves the other cores to the scrapes.
pub(super) struct Passwords {
    key: hmac::Key,
    known: Mutex<Known>,
    turn: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// What the right passwords come down to under the process's own key, oldest first. The passwords themselves aren't
/// kept.
#[derive(Default)]
struct Known {
    tags: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

/// Why a request isn't let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// No user, an unknown one, or a wrong password; which of them isn't told.
    Unauthorized,
    /// Too many passwords wait to be checked.
    Busy,
}

impl Passwords {
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system has random numbers");
        Self {
            key,
            known: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Lets a request in whose `Authorization` names one of the users with the right password.
    pub(super) async fn check(
        &self,
        users: &BTreeMap<String, SecretString>,
        authorization: Option<&HeaderValue>,
    ) -> Result<(), Denied> {
        let (user, password) = authorization
            .and_then(|header| credentials(header.as_bytes()))
            .ok_or(Denied::Unauthorized)?;
        let known = std::str::from_utf8(&user)
            .ok()
            .and_then(|user| users.get(user));
        // An unknown user costs what a wrong password costs: it is checked against another user's hash, and the
        // outcome doesn't count.
        let Some(hash) = known.or_else(|| users.values().next()) else {
            return Err(Denied::Unauthorized);
        };
        let tag = self.tag(&user, hash, &password);
        if known.is_some() && self.is_remembered(&tag) {
            return Ok(());
        }
        let is_right = self.verify(password, hash.clone()).await?;
        if is_right && known.is_some() {
            self.remember(tag);
            return Ok(());
        }
        Err(Denied::Unauthorized)
    }

    async fn verify(&self, password: SecretSlice<u8>, hash: SecretString) -> Result<bool, Denied> {
        let _place = Place::take(&self.waiting).ok_or(Denied::Busy)?;
        let turn = Arc::clone(&self.turn)
            .acquire_owned()
            .await
            .map_err(|_| Denied::Busy)?;
        let verified = tokio::task::spawn_blocking(move || {
            // The turn ends with the work, also when the client has left meanwhile.
            let _turn = turn;
            bcrypt::verify(password.expose_secret(), hash.expose_secret()).unwrap_or(false)
        });
        Ok(verified.await.unwrap_or(false))
    }

    fn tag(&self, user: &[u8], hash: &SecretString, password: &SecretSlice<u8>) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [
            user,
            hash.expose_secret().as_bytes(),
            password.expose_secret(),
        ] {
            // The length keeps "ab" + "c" and "a" + "bc" apart.
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let tag = context.sign();
        tag.as_ref()
            .try_into()
            .expect("HMAC-SHA256 makes tags of 32 bytes")
    }

    fn is_remembered(&self, tag: &[u8; 32]) -> bool {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .tags
            .contains(tag)
    }

    fn remember(&self, tag: [u8; 32]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.tags.insert(tag) {
            known.order.push_back(tag);
        }
        if known.order.len() > REMEMBERED
            && let Some(oldest) = known.order.pop_front()
        {
            known.tags.remove(&oldest);
        }
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords")
    }
}

/// A place among those who wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        if waiting.fetch_add(1, Ordering::Relaxed) < WAITING {
            Some(Self(waiting))
        } else {
            waiting.fetch_sub(1, Ordering::Relaxed);
            None
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// User and password of `Basic dXNlcjpwYXNz` (RFC 7617).
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
    use proptest::prelude::*;

    use super::*;

    fn header(user: &str, password: &str) -> HeaderValue {
        let text = STANDARD.encode(format!("{user}:{password}"));
        HeaderValue::from_str(&format!("Basic {text}")).unwrap()
    }

    fn users() -> BTreeMap<String, SecretString> {
        // The lowest cost there is, for the sake of the tests' time.
        let hash = |password: &str| bcrypt::hash(password, 4).unwrap().into();
        BTreeMap::from([
            ("ann".to_owned(), hash("a:b")),
            ("bob".to_owned(), hash("b")),
        ])
    }

    #[tokio::test]
    async fn right_password_alone_opens() {
        let (passwords, users) = (Passwords::new(), users());
        let check = async |user, password| {
            let header = header(user, password);
            passwords.check(&users, Some(&header)).await
        };
        assert_eq!(check("ann", "a:b").await, Ok(()));
        assert_eq!(check("ann", "a:b").await, Ok(()));
        assert_eq!(check("bob", "b").await, Ok(()));
        for (user, password) in [
            ("ann", "b"),
            ("bob", "a:b"),
            ("bob", ""),
            ("", ""),
            // The stand-in for unknown users is Ann's hash.
            ("eve", "a:b"),
        ] {
            assert_eq!(
                check(user, password).await,
                Err(Denied::Unauthorized),
                "{user}"
            );
        }
        assert_eq!(
            passwords.check(&users, None).await,
            Err(Denied::Unauthorized)
        );
    }

    #[tokio::test]
    async fn changed_hash_shuts_out_the_old_password() {
        let (passwords, mut users) = (Passwords::new(), users());
        let header = header("bob", "b");
        assert_eq!(passwords.check(&users, Some(&header)).await, Ok(()));
        users.insert("bob".to_owned(), bcrypt::hash("new", 4).unwrap().into());
        assert_eq!(
            passwords.check(&users, Some(&header)).await,
            Err(Denied::Unauthorized)
        );
    }

    #[tokio::test]
    async fn wrong_passwords_beyond_the_queue_are_turned_away() {
        let (passwords, users) = (Passwords::new(), users());
        let _busy = passwords.turn.acquire().await.unwrap();
        let header = header("bob", "wrong");
        let mut checks: Vec<_> = (0..=WAITING)
            .map(|_| Box::pin(passwords.check(&users, Some(&header))))
            .collect();
        let last = checks.pop().unwrap();
        for check in &mut checks {
            assert!(futures_util::poll!(check).is_pending());
        }
        assert_eq!(last.await, Err(Denied::Busy));
        drop(checks);
        assert_eq!(passwords.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn user_who_was_here_before_waits_for_nobody() {
        let (passwords, users) = (Passwords::new(), users());
        let header = header("bob", "b");
        assert_eq!(passwords.check(&users, Some(&header)).await, Ok(()));
        let _busy = passwords.turn.acquire().await.unwrap();
        assert_eq!(passwords.check(&users, Some(&header)).await, Ok(()));
    }

    #[test]
    fn only_the_newest_passwords_are_remembered() {
        let passwords = Passwords::new();
        for n in 0..=REMEMBERED {
            passwords.remember([u8::try_from(n).unwrap(); 32]);
        }
        assert!(!passwords.is_remembered(&[0; 32]));
        assert!(passwords.is_remembered(&[1; 32]));
    }

    proptest! {
        #[test]
        fn no_header_panics(header in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = credentials(&header);
        }
    }
}
