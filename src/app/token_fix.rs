//! What to do where WeChat rejects an app's access token in fetch after fetch.

use crate::config::Credential;

/// The fix by where the tokens come from, in English and in Chinese.
pub(crate) fn token_fix(credential: &Credential) -> [&'static str; 2] {
    match credential {
        Credential::Token { .. } => [
            "Another program asks /cgi-bin/token for the same app, and each new token ends the last one. Use stable_token \
             here and in that program.",
            "另有程序用 /cgi-bin/token 为同一小程序获取令牌，每个新令牌都会使上一个失效。请在导出器和该程序中都改用 stable_token。",
        ],
        Credential::StableToken { .. } => [
            "Another program asks for this app's stable token with force_refresh, or the AppSecret was reset. Stop the \
             forced refreshes, and compare the AppSecret with mp.weixin.qq.com.",
            "另有程序以 force_refresh 强制刷新该小程序的稳定版令牌，或 AppSecret 已被重置。请停止强制刷新，并在 mp.weixin.qq.com 核对 AppSecret。",
        ],
        Credential::None { .. } => [
            "Cloud Run's open-interface service adds the token. Switch 开放接口服务 on for this service and publish a new \
             version.",
            "令牌由云托管的开放接口服务添加。请为该服务开启“开放接口服务”并发布新版本。",
        ],
        _ => [
            "Whatever keeps this app's token fresh gives one that WeChat no longer accepts. Renew it there, and see whether \
             another program ends it by asking /cgi-bin/token.",
            "负责更新该小程序令牌的程序给出的令牌已被微信拒绝。请在该处更新令牌，并检查是否有其他程序用 /cgi-bin/token 使其失效。",
        ],
    }
}
