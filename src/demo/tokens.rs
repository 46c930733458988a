//! The tokens that the simulated WeChat gives out, and what it says of a token that comes back.
//!
//! Lifetimes and rules: <https://developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken>, read in
//! November 2026. Stable and classic tokens know nothing of each other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::dice::Dice;

/// How long a token lives.
const LIFETIME: Duration = Duration::from_secs(7200);

/// In a stable token's last five minutes a new one is given out; a classic token lives so long beside its successor.
const OVERLAP: Duration = Duration::from_secs(300);

/// `force_refresh` sooner than this after the last one changes nothing.
const FORCE_INTERVAL: Duration = Duration::from_secs(30);

/// `force_refresh` per day.
const FORCED_PER_DAY: u32 = 20;

/// A `cloudbase_access_token` is pushed so often, and lives three times as long.
const PUSH_INTERVAL: u64 = 600;

/// Spent tokens are remembered for so long, to tell an old one from a wrong one.
const MEMORY: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Stable,
    Classic,
}

/// A token with its remaining life.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) token: String,
    pub(super) left: Duration,
}

/// Too many tokens were forced today.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ForcedTooOften;

/// What is wrong with a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 40001
    NotLatest,
    /// 42001
    Expired,
}

#[derive(Debug)]
struct Issued {
    app: usize,
    ends: Instant,
    /// From then on it is no longer the latest.
    replaced: Option<Instant>,
}

#[derive(Debug)]
struct Forced {
    last: Instant,
    day_began: Instant,
    count: u32,
}

/// All tokens of all apps.
#[derive(Debug)]
pub(super) struct Tokens {
    dice: Dice,
    began: Instant,
    issued: HashMap<String, Issued>,
    latest: HashMap<(usize, Kind), String>,
    forced: HashMap<usize, Forced>,
    count: u64,
    /// Changes the pushed tokens of an app.
    pushes: HashMap<usize, u64>,
}

impl Tokens {
    pub(super) fn new(dice: Dice, now: Instant) -> Self {
        Self {
            dice,
            began: now,
            issued: HashMap::new(),
            latest: HashMap::new(),
            forced: HashMap::new(),
            count: 0,
            pushes: HashMap::new(),
        }
    }

    /// Answers `/cgi-bin/stable_token`.
    pub(super) fn stable(
        &mut self,
        app: usize,
        force: bool,
        now: Instant,
    ) -> Result<Given, ForcedTooOften> {
        let force = force && self.may_force(app, now)?;
        let latest = self.latest.get(&(app, Kind::Stable));
        let kept = latest.and_then(|token| {
            let issued = self.issued.get(token)?;
            let left = issued.ends.checked_duration_since(now)?;
            let good = left > OVERLAP && issued.replaced.is_none();
            good.then(|| (token.clone(), left))
        });
        match kept {
            Some((token, left)) if !force => Ok(Given { token, left }),
            _ => {
                // A forced refresh kills the old token; in its last minutes it dies by itself.
                let until = if force { now } else { now + OVERLAP };
                Ok(self.give(app, Kind::Stable, until, now))
            }
        }
    }

    /// Answers `/cgi-bin/token`: a new token each time, and the end of the one before.
    pub(super) fn classic(&mut self, app: usize, now: Instant) -> Given {
        self.give(app, Kind::Classic, now + OVERLAP, now)
    }

    /// Somebody else forces a new stable token: the ones given out are no longer the latest.
    pub(super) fn replace(&mut self, app: usize, now: Instant) {
        for issued in self.issued.values_mut().filter(|issued| issued.app == app) {
            issued.replaced = Some(now);
        }
        *self.pushes.entry(app).or_default() += 1;
    }

    /// Every token of the app ends now.
    pub(super) fn expire(&mut self, app: usize, now: Instant) {
        for issued in self.issued.values_mut().filter(|issued| issued.app == app) {
            issued.ends = now;
        }
        *self.pushes.entry(app).or_default() += 1;
    }

    /// Whose token it is and whether it still counts; `None`: nobody's.
    pub(super) fn owner(&self, token: &str, now: Instant) -> Option<(usize, Result<(), Refusal>)> {
        let issued = self.issued.get(token)?;
        let verdict = if issued.replaced.is_some_and(|replaced| now >= replaced) {
            Err(Refusal::NotLatest)
        } else if now >= issued.ends {
            Err(Refusal::Expired)
        } else {
            Ok(())
        };
        Some((issued.app, verdict))
    }

    /// The token that a Cloud Run container of the app would find in its file now.
    pub(super) fn pushed(&self, app: usize, now: Instant) -> String {
        self.pushed_in(app, self.push_number(now))
    }

    /// The same for a `cloudbase_access_token`.
    pub(super) fn pushed_owner(
        &self,
        token: &str,
        now: Instant,
    ) -> Option<(usize, Result<(), Refusal>)> {
        let app = token.strip_prefix("cloudbase_")?.split_once('_')?.0;
        let app = app.parse().ok()?;
        let number = self.push_number(now);
        let good = (0..3)
            .filter_map(|back| number.checked_sub(back))
            .any(|number| self.pushed_in(app, number) == token);
        Some((
            app,
            if good {
                Ok(())
            } else {
                Err(Refusal::NotLatest)
            },
        ))
    }

    fn push_number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / PUSH_INTERVAL
    }

    fn pushed_in(&self, app: usize, number: u64) -> String {
        let pushes = self.pushes.get(&app).copied().unwrap_or_default();
        let dice = self.dice.with(3).with(app as u64).with(pushes).with(number);
        format!("cloudbase_{app}_{}", dice.text(120))
    }

    fn may_force(&mut self, app: usize, now: Instant) -> Result<bool, ForcedTooOften> {
        let Some(forced) = self.forced.get_mut(&app) else {
            let first = Forced {
                last: now,
                day_began: now,
                count: 1,
            };
            self.forced.insert(app, first);
            return Ok(true);
        };
        if now.saturating_duration_since(forced.last) < FORCE_INTERVAL {
            return Ok(false);
        }
        if now.saturating_duration_since(forced.day_began) >= 12 * LIFETIME {
            forced.day_began = now;
            forced.count = 0;
        }
        if forced.count >= FORCED_PER_DAY {
            return Err(ForcedTooOften);
        }
        forced.count += 1;
        forced.last = now;
        Ok(true)
    }

    fn give(&mut self, app: usize, kind: Kind, old_until: Instant, now: Instant) -> Given {
        self.issued.retain(|_, issued| now < issued.ends + MEMORY);
        self.count += 1;
        let dice = self.dice.with(2).with(self.count);
        // The real ones look like this and are up to 512 characters long.
        let token = format!("{}_{}", 60 + dice.below(40), dice.with(1).text(134));
        let issued = Issued {
            app,
            ends: now + LIFETIME,
            replaced: None,
        };
        self.issued.insert(token.clone(), issued);
        if let Some(old) = self.latest.insert((app, kind), token.clone())
            && let Some(old) = self.issued.get_mut(&old)
        {
            old.replaced = Some(old.replaced.map_or(old_until, |at| at.min(old_until)));
        }
        Given {
            token,
            left: LIFETIME,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tokens() -> (Tokens, Instant) {
        let now = Instant::now();
        (Tokens::new(Dice::new(1), now), now)
    }

    #[test]
    fn stable_token_is_the_same_with_the_seconds_that_are_left() {
        let (mut tokens, now) = tokens();
        let first = tokens.stable(0, false, now).unwrap();
        let later = tokens.stable(0, false, now + 1000 * SECOND).unwrap();
        assert_eq!(first.token, later.token);
        assert_eq!((first.left, later.left), (7200 * SECOND, 6200 * SECOND));
    }

    #[test]
    fn stable_token_is_renewed_in_its_last_five_minutes_and_both_work() {
        let (mut tokens, now) = tokens();
        let first = tokens.stable(0, false, now).unwrap();
        let late = now + 6901 * SECOND;
        let second = tokens.stable(0, false, late).unwrap();
        assert_ne!(first.token, second.token);
        assert_eq!(tokens.owner(&first.token, late), Some((0, Ok(()))));
        assert_eq!(tokens.owner(&second.token, late), Some((0, Ok(()))));
        let ended = now + 7200 * SECOND;
        assert_eq!(
            tokens.owner(&first.token, ended),
            Some((0, Err(Refusal::Expired)))
        );
    }

    #[test]
    fn forced_refresh_kills_the_old_token_but_not_twice_in_thirty_seconds() {
        let (mut tokens, now) = tokens();
        let first = tokens.stable(0, false, now).unwrap();
        let forced = tokens.stable(0, true, now).unwrap();
        assert_ne!(first.token, forced.token);
        assert_eq!(
            tokens.owner(&first.token, now),
            Some((0, Err(Refusal::NotLatest)))
        );
        let again = tokens.stable(0, true, now + 29 * SECOND).unwrap();
        assert_eq!(again.token, forced.token);
        let third = tokens.stable(0, true, now + 30 * SECOND).unwrap();
        assert_ne!(third.token, forced.token);
    }

    #[test]
    fn twenty_forced_refreshes_a_day_are_all() {
        let (mut tokens, now) = tokens();
        let forced =
            |tokens: &mut Tokens, minute: u32| tokens.stable(0, true, now + minute * 60 * SECOND);
        for minute in 0..20 {
            forced(&mut tokens, minute).unwrap();
        }
        assert_eq!(forced(&mut tokens, 20), Err(ForcedTooOften));
        assert!(forced(&mut tokens, 24 * 60).is_ok());
    }

    #[test]
    fn classic_token_ends_the_one_before_after_five_minutes_and_no_stable_one() {
        let (mut tokens, now) = tokens();
        let stable = tokens.stable(0, false, now).unwrap();
        let first = tokens.classic(0, now);
        let second = tokens.classic(0, now + SECOND);
        assert_ne!(first.token, second.token);
        let after = |seconds| now + seconds * SECOND;
        assert_eq!(tokens.owner(&first.token, after(300)), Some((0, Ok(()))));
        assert_eq!(
            tokens.owner(&first.token, after(301)),
            Some((0, Err(Refusal::NotLatest)))
        );
        assert_eq!(tokens.owner(&second.token, after(301)), Some((0, Ok(()))));
        assert_eq!(tokens.owner(&stable.token, after(301)), Some((0, Ok(()))));
    }

    #[test]
    fn expired_and_replaced_tokens_are_told_apart_and_the_next_one_is_new() {
        let (mut tokens, now) = tokens();
        let first = tokens.stable(0, false, now).unwrap().token;
        let other = tokens.stable(1, false, now).unwrap().token;
        tokens.expire(0, now);
        assert_eq!(tokens.owner(&first, now), Some((0, Err(Refusal::Expired))));
        let second = tokens.stable(0, false, now).unwrap().token;
        tokens.replace(0, now);
        assert_eq!(
            tokens.owner(&second, now),
            Some((0, Err(Refusal::NotLatest)))
        );
        let third = tokens.stable(0, false, now).unwrap().token;
        assert_eq!(tokens.owner(&third, now), Some((0, Ok(()))));
        assert_eq!(tokens.owner(&other, now), Some((1, Ok(()))));
        assert_eq!(tokens.owner("somebody's", now), None);
    }

    #[test]
    fn pushed_token_lives_half_an_hour() {
        let (tokens, now) = tokens();
        let token = tokens.pushed(4, now);
        let after = |seconds| tokens.pushed_owner(&token, now + seconds * SECOND);
        assert_eq!(after(0), Some((4, Ok(()))));
        assert_eq!(after(1799), Some((4, Ok(()))));
        assert_eq!(after(1800), Some((4, Err(Refusal::NotLatest))));
        assert_eq!(
            tokens.pushed_owner("cloudbase_4_", now),
            Some((4, Err(Refusal::NotLatest)))
        );
        assert_eq!(tokens.pushed_owner("cloudbase_", now), None);
    }
}
