//! One token in memory, and one reading of its source at a time for all who need it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret;
use tokio::sync::Mutex;

use super::error::Error;
use super::form::Found;
use crate::clock::Moment;
use crate::error::chain;
use crate::wechat::AccessToken;

/// Time before its end at which a token is no longer handed out.
///
/// WeChat gives a new stable token in the last 5 minutes of the old one, and both work until then
/// (`getStableAccessToken`, seen 2026-11).
pub(super) const REFRESH_MARGIN: Duration = Duration::from_secs(300);

/// How long a token whose end is unknown is handed out. WeChat's advice to users of a central token server is to keep
/// it for about a minute (`AccessToken.html`, seen 2026-11).
const UNKNOWN_KEEP: Duration = Duration::from_secs(60);

/// Life that a token must have left to serve once more when its source fails. Longer than any fetch takes.
const LAST_RESORT: Duration = Duration::from_secs(30);

/// A token just read or minted.
#[derive(Debug)]
pub(super) struct Obtained {
    pub(super) token: AccessToken,
    /// How long it is handed out before the source is asked again; zero: to those who wait for it now.
    pub(super) keep: Duration,
}

impl Obtained {
    /// A token that a source just gave, with the seconds it has left from now.
    pub(super) fn found_now(found: Found, now: SystemTime) -> Self {
        Self {
            keep: found.lifetime.map_or(UNKNOWN_KEEP, |lifetime| {
                lifetime.saturating_sub(REFRESH_MARGIN)
            }),
            token: AccessToken {
                secret: found.token,
                expires: found
                    .lifetime
                    .and_then(|lifetime| now.checked_add(lifetime)),
            },
        }
    }
}

/// The token kept in memory.
///
/// Whoever needs another one takes the turn and asks the source; those who come meanwhile wait and take that
/// outcome, a failure too. The asking happens in the asker's own task, which no scrape can cancel; where a task does
/// end midway, the next one in line asks.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// Held over the await on purpose: it is what the others wait for.
    turn: Mutex<Kept>,
    /// Finished askings. One that finished while somebody waited was for them too.
    asked: AtomicU64,
    /// For readers that must not wait.
    expiry: StdMutex<Option<SystemTime>>,
}

#[derive(Debug, Default)]
struct Kept {
    token: Option<KeptToken>,
    last: Option<Asking>,
}

#[derive(Debug)]
struct KeptToken {
    token: Arc<AccessToken>,
    /// On both clocks, as either can jump: the wall clock is set, the other one sleeps with the machine.
    until: Moment,
}

/// How the source was last asked.
#[derive(Debug)]
struct Asking {
    result: Result<Arc<AccessToken>, Error>,
    /// Because WeChat had rejected a token.
    to_renew: bool,
}

impl Kept {
    fn fresh(&self) -> Option<&Arc<AccessToken>> {
        let now = Moment::now();
        self.token
            .as_ref()
            .filter(|kept| now.monotonic < kept.until.monotonic && now.wall < kept.until.wall)
            .map(|kept| &kept.token)
    }

    /// The kept token, if it lives long enough for one more fetch.
    fn last_resort(&self) -> Option<&Arc<AccessToken>> {
        let earliest = Moment::now().wall + LAST_RESORT;
        self.token
            .as_ref()
            .map(|kept| &kept.token)
            .filter(|token| token.expires.is_some_and(|expires| expires > earliest))
    }
}

impl Keeper {
    /// The kept token, else what `obtain` brings, for everybody who waits.
    ///
    /// # Errors
    /// That of `obtain`, unless the kept token lives long enough to bridge a failure that may pass.
    pub(super) async fn token(
        &self,
        obtain: impl Future<Output = Result<Obtained, Error>>,
    ) -> Result<Arc<AccessToken>, Error> {
        let came = self.asked.load(Ordering::Acquire);
        let mut kept = self.turn.lock().await;
        if self.asked.load(Ordering::Acquire) != came
            && let Some(asking) = &kept.last
        {
            return asking.result.clone();
        }
        if let Some(token) = kept.fresh() {
            return Ok(Arc::clone(token));
        }
        let result = match obtain.await {
            Err(error) if error.may_pass() && kept.last_resort().is_some() => {
                tracing::warn!(
                    error = chain(&error),
                    "access token can't be refreshed; the old one still serves"
                );
                kept.last_resort().map(Arc::clone).ok_or(error)
            }
            result => result.map(|obtained| self.keep(&mut kept, obtained)),
        };
        self.finish(&mut kept, result.clone(), false);
        result
    }

    /// After WeChat rejected a token: the kept one if it is another, else what `obtain` brings; `None` where that is
    /// the rejected one again.
    ///
    /// # Errors
    /// That of `obtain`.
    pub(super) async fn renew(
        &self,
        rejected: &AccessToken,
        obtain: impl Future<Output = Result<Obtained, Error>>,
    ) -> Result<Option<Arc<AccessToken>>, Error> {
        let another = |token: &Arc<AccessToken>| {
            token.secret.expose_secret() != rejected.secret.expose_secret()
        };
        let came = self.asked.load(Ordering::Acquire);
        let mut kept = self.turn.lock().await;
        if self.asked.load(Ordering::Acquire) != came
            && let Some(asking) = &kept.last
        {
            match &asking.result {
                Ok(token) if another(token) => return Ok(Some(Arc::clone(token))),
                // Asked for somebody who only needed a token: the source does not know yet that this one is no good.
                Ok(_) if !asking.to_renew => {}
                Ok(_) => return Ok(None),
                Err(error) => return Err(error.clone()),
            }
        } else if let Some(token) = kept.fresh().filter(|token| another(token)) {
            return Ok(Some(Arc::clone(token)));
        }
        let result = obtain.await;
        let result = result.map(|obtained| self.keep(&mut kept, obtained));
        self.finish(&mut kept, result.clone(), true);
        Ok(Some(result?).filter(another))
    }

    /// When the kept token ends, where known.
    pub(super) fn expiry(&self) -> Option<SystemTime> {
        *self.expiry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, kept: &mut Kept, obtained: Obtained) -> Arc<AccessToken> {
        let token = Arc::new(obtained.token);
        *self.expiry.lock().unwrap_or_else(PoisonError::into_inner) = token.expires;
        kept.token = Some(KeptToken {
            token: Arc::clone(&token),
            until: Moment::now().after(obtained.keep),
        });
        token
    }

    fn finish(&self, kept: &mut Kept, result: Result<Arc<AccessToken>, Error>, to_renew: bool) {
        kept.last = Some(Asking { result, to_renew });
        self.asked.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;

    use super::*;
    use crate::token::error::{Place, Unusable};

    const HOUR: Duration = Duration::from_secs(3600);

    /// A source that gives its tokens in order, the last one for ever, and counts how often it is asked.
    struct Source {
        keeper: Keeper,
        answers: Vec<Result<&'static str, Error>>,
        keep: Duration,
        lives: Duration,
        asked: AtomicUsize,
    }

    impl Source {
        fn new(answers: &[Result<&'static str, Error>]) -> Self {
            Self {
                keeper: Keeper::default(),
                answers: answers.to_vec(),
                keep: HOUR,
                lives: HOUR,
                asked: AtomicUsize::new(0),
            }
        }

        async fn obtain(&self) -> Result<Obtained, Error> {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            // All others get in line meanwhile.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            let answer = self.answers.get(asked).or(self.answers.last()).unwrap();
            answer.clone().map(|secret| Obtained {
                token: token(secret, self.lives),
                keep: self.keep,
            })
        }

        async fn token(&self) -> Result<String, Error> {
            let token = self.keeper.token(self.obtain()).await?;
            Ok(token.secret.expose_secret().to_owned())
        }

        async fn renew(&self, rejected: &str) -> Result<Option<String>, Error> {
            let rejected = token(rejected, HOUR);
            let token = self.keeper.renew(&rejected, self.obtain()).await?;
            Ok(token.map(|token| token.secret.expose_secret().to_owned()))
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    fn token(secret: &str, lives: Duration) -> AccessToken {
        AccessToken {
            secret: secret.into(),
            expires: Some(SystemTime::now() + lives),
        }
    }

    fn place() -> Place {
        Place::File("/run/token".into())
    }

    fn unreachable() -> Error {
        Error::Unreachable {
            place: place(),
            source: Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused)),
        }
    }

    fn forbidden() -> Error {
        Error::Settings {
            place: place(),
            what: "no".into(),
            source: None,
        }
    }

    #[tokio::test]
    async fn hundred_who_need_a_token_at_once_cost_one_mint() {
        let source = Source::new(&[Ok("first"), Ok("second")]);
        for result in join_all((0..100).map(|_| source.token())).await {
            assert_eq!(result.unwrap(), "first");
        }
        assert_eq!(source.asked(), 1);
    }

    #[tokio::test]
    async fn kept_token_costs_nothing() {
        let source = Source::new(&[Ok("first"), Ok("second")]);
        for _ in 0..3 {
            assert_eq!(source.token().await.unwrap(), "first");
        }
        assert_eq!(source.asked(), 1);
        assert!(source.keeper.expiry().is_some());
    }

    #[tokio::test]
    async fn token_that_is_not_kept_serves_those_who_wait_and_nobody_after() {
        let mut source = Source::new(&[Ok("first"), Ok("second")]);
        source.keep = Duration::ZERO;
        for result in join_all((0..100).map(|_| source.token())).await {
            assert_eq!(result.unwrap(), "first");
        }
        assert_eq!(source.token().await.unwrap(), "second");
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test]
    async fn failed_mint_is_shared_by_those_who_wait_and_tried_again_by_the_next() {
        let source = Source::new(&[Err(unreachable()), Ok("second")]);
        for result in join_all((0..100).map(|_| source.token())).await {
            assert!(matches!(result, Err(Error::Unreachable { .. })));
        }
        assert_eq!(source.asked(), 1);
        assert_eq!(source.token().await.unwrap(), "second");
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test]
    async fn token_rejected_by_all_is_renewed_once() {
        let source = Source::new(&[Ok("first"), Ok("second"), Ok("third")]);
        source.token().await.unwrap();
        for result in join_all((0..100).map(|_| source.renew("first"))).await {
            assert_eq!(result.unwrap().as_deref(), Some("second"));
        }
        assert_eq!(
            source.renew("first").await.unwrap().as_deref(),
            Some("second")
        );
        assert_eq!(source.token().await.unwrap(), "second");
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test]
    async fn same_token_again_is_none_for_all_who_wait_and_asked_for_once() {
        let source = Source::new(&[Ok("first")]);
        source.token().await.unwrap();
        for result in join_all((0..100).map(|_| source.renew("first"))).await {
            assert_eq!(result.unwrap(), None);
        }
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test]
    async fn failed_renewal_is_shared_by_those_who_wait() {
        let source = Source::new(&[Ok("first"), Err(unreachable())]);
        source.token().await.unwrap();
        for result in join_all((0..100).map(|_| source.renew("first"))).await {
            assert!(matches!(result, Err(Error::Unreachable { .. })));
        }
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test]
    async fn renewal_that_waited_for_an_ordinary_reading_still_renews() {
        let mut source = Source::new(&[Ok("first"), Ok("second")]);
        source.keep = Duration::ZERO;
        let (needed, renewed) = tokio::join!(source.token(), source.renew("first"));
        assert_eq!(needed.unwrap(), "first");
        assert_eq!(renewed.unwrap().as_deref(), Some("second"));
    }

    #[tokio::test]
    async fn caller_that_leaves_midway_leaves_its_turn_to_the_next() {
        let source = Arc::new(Source::new(&[Ok("first"), Ok("second")]));
        let leaves = tokio::spawn({
            let source = Arc::clone(&source);
            async move { source.token().await }
        });
        while source.asked() == 0 {
            tokio::task::yield_now().await;
        }
        leaves.abort();
        assert_eq!(source.token().await.unwrap(), "second");
    }

    #[tokio::test]
    async fn old_token_bridges_a_passing_failure_but_none_that_needs_mending() {
        for (lives, failure, served) in [
            (HOUR, unreachable(), true),
            (LAST_RESORT / 2, unreachable(), false),
            (HOUR, forbidden(), false),
        ] {
            let mut source = Source::new(&[Ok("first"), Err(failure)]);
            source.keep = Duration::ZERO;
            source.lives = lives;
            source.token().await.unwrap();
            assert_eq!(source.token().await.is_ok(), served);
            assert_eq!(source.asked(), 2);
        }
    }

    #[tokio::test]
    async fn neither_the_keeper_nor_what_it_keeps_shows_the_token() {
        let source = Source::new(&[Ok("canary")]);
        let token = source.keeper.token(source.obtain()).await.unwrap();
        let shown = format!("{:?} {token:?}", source.keeper);
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn only_failures_that_trying_again_can_mend_are_bridged() {
        assert!(unreachable().may_pass());
        assert!(!forbidden().may_pass());
        let unusable = Error::Unusable {
            place: place(),
            why: Unusable::Null,
        };
        assert!(unusable.may_pass());
    }
}
