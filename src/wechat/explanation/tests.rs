//! Tests that each text is complete. `tests/integration/explanations.rs` tests which reply gets which explanation.

use std::collections::HashSet;

use super::*;
use crate::status::translations::assert_chinese_punctuation;

#[test]
fn address_to_whitelist_is_read_from_the_message() {
    #[rustfmt::skip]
    let table = [
        ("invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 60c976e4-051e6c8e-47215cd3", "203.0.113.7"),
        ("invalid ip 2001:db8::1, not in whitelist", "2001:db8::1"),
        ("access clientip is not registered requestIP: 203.0.113.9 rid: 60c976e4-051e6c8e-47215cd3", "203.0.113.9"),
        ("invalid ip <b>, not", ""),
        ("a: b", ""),
    ];
    for (message, address) in table {
        let found = address_to_whitelist(message);
        assert_eq!(found, address.parse().ok(), "{message}");
    }
}

#[test]
fn own_fault_and_own_limit_are_not_blamed_on_wechat() {
    let kind = CredentialKind::StableToken;
    let [meaning, _] = Cause::unknown().explanation(kind).meaning;
    assert!(meaning.contains("exporter itself"), "{meaning}");
    let not_sent = crate::wechat::Error::not_sent(Api::QuotaGet, crate::wechat::DailyLimitReached);
    let [fix, _] = not_sent.cause.explanation(kind).fix;
    assert!(fix.contains("--wechat.daily-limit"), "{fix}");
}

/// Returns every explanation that can be shown.
fn all() -> HashSet<Explanation> {
    let codes = (-604_200..=90_000_i64).chain(9_300_500..9_300_600);
    let codes = codes.filter(|code| *code == 0 || errcode::is_known(*code));
    let apis = [Api::Token, Api::StableToken, Api::AccountGetall].map(Some);
    let mut all = HashSet::new();
    for errcode in codes {
        for api in apis.into_iter().chain([None]) {
            for reason in Reason::ALL.iter().copied() {
                for symptom in Symptom::ALL.iter().copied().map(Some).chain([None]) {
                    let cause = Cause {
                        reason,
                        api,
                        errcode,
                        symptom,
                    };
                    let kinds = CredentialKind::ALL.iter();
                    all.extend(kinds.map(|kind| cause.explanation(*kind)));
                }
            }
        }
    }
    all
}

#[test]
fn texts_are_whole_and_chinese_ones_have_chinese_punctuation() {
    let all = all();
    assert!(all.len() > 80, "{}", all.len());
    for explanation in all {
        let Explanation { meaning, fix } = explanation;
        let is_capital = |c: char| c.is_ascii_uppercase();
        assert!(meaning[0].starts_with(is_capital), "{meaning:?}");
        assert!(
            !meaning[0].ends_with('.') && !meaning[1].ends_with('。'),
            "{meaning:?}"
        );
        for [_, chinese] in [meaning, fix] {
            assert!(!chinese.is_ascii(), "{chinese}");
            assert_chinese_punctuation(chinese);
        }
    }
}
