//! What WeChat's errcodes mean: one table, from which the `reason` label, the status page and `check` are fed.
//!
//! Sources: the tables of `developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken` and its siblings,
//! of `wx-server-sdk`, and of the client libraries `WxJava` and `wechatpy`, read in November 2026. Where WeChat
//! documents a code with half a sentence, the cure is what the forum's staff answered.

use super::{Api, Reason};

/// What an errcode means and what to do about it, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What happened.
    pub meaning: &'static str,
    /// What to do, with the console page where it is done.
    pub cure: &'static str,
    /// [`meaning`](Self::meaning) in Chinese.
    pub meaning_zh: &'static str,
    /// [`cure`](Self::cure) in Chinese.
    pub cure_zh: &'static str,
}

/// Explains an errcode that a call of `at` brought; `None` where its meaning is not known, or is another one than its
/// reason: 45009 can mean a limit per minute.
#[must_use]
pub fn explain(errcode: i64, reason: Reason, at: Api) -> Option<Explanation> {
    find(errcode, at)
        .filter(|entry| entry.reason == reason)
        .map(|entry| entry.explanation)
}

/// The address that has to be added to the IP whitelist, from the message of errcode 40164.
///
/// The message reads `invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist rid: …`.
#[must_use]
pub fn address_to_whitelist(message: &str) -> Option<std::net::IpAddr> {
    let (_, after) = message.split_once("invalid ip ")?;
    let address = after.split([' ', ',']).next()?;
    address.parse().ok()
}

/// The reason that an errcode stands for.
pub(super) fn reason(errcode: i64, errmsg: &str, at: Api) -> Reason {
    let Some(entry) = find(errcode, at) else {
        return match errcode {
            // "System" errors of the cloud call, which WeChat documents as a range.
            -601_999..=-601_000 => Reason::Transient,
            _ => Reason::Unknown,
        };
    };
    let errmsg = errmsg.to_ascii_lowercase();
    match errcode {
        // Documented as the daily limit; the message tells where a limit per minute was meant.
        45009 if errmsg.contains("minute") => Reason::Rate,
        // A function that is stopped by its time limit has failed to execute.
        -504_002
            if ["timeout", "timed out", "time limit", "超时"]
                .iter()
                .any(|word| errmsg.contains(word)) =>
        {
            Reason::Timeout
        }
        _ => entry.reason,
    }
}

/// Whether WeChat rejects the access token by this errcode.
pub(super) fn rejects_token(errcode: i64, at: Api) -> bool {
    matches!(errcode, 40001 | 40014 | 42001) && !mints_token(at)
}

const fn mints_token(at: Api) -> bool {
    matches!(at, Api::StableToken | Api::Token)
}

struct Entry {
    errcode: i64,
    at: At,
    reason: Reason,
    explanation: Explanation,
}

/// Where an errcode has this meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Anywhere,
    TokenEndpoints,
    Elsewhere,
}

fn find(errcode: i64, at: Api) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| {
        entry.errcode == errcode
            && match entry.at {
                At::Anywhere => true,
                At::TokenEndpoints => mints_token(at),
                At::Elsewhere => !mints_token(at),
            }
    })
}

const fn entry(
    errcode: i64,
    reason: Reason,
    [meaning, cure]: [&'static str; 2],
    [meaning_zh, cure_zh]: [&'static str; 2],
) -> Entry {
    Entry {
        errcode,
        at: At::Anywhere,
        reason,
        explanation: Explanation {
            meaning,
            cure,
            meaning_zh,
            cure_zh,
        },
    }
}

impl Entry {
    const fn only(mut self, at: At) -> Self {
        self.at = at;
        self
    }
}

const TRY_AGAIN: &str = "Nothing to do; the next scrape tries again. If it lasts for hours, see WeChat's status at developers.weixin.qq.com.";
const TRY_AGAIN_ZH: &str = "无需处理，下次抓取会自动重试；若持续数小时，请到微信开放社区 developers.weixin.qq.com 查看是否有故障公告。";
const REPORT: &str = "This is a fault of the exporter's or of a proxy that changes its requests; please report it with the log line.";
const REPORT_ZH: &str = "这是本程序的缺陷，或有代理改写了请求；请附上日志反馈。";
const NEW_TOKEN: &str = "A fresh token is asked for by itself. If it comes back, look for another program that mints tokens of this appid with /cgi-bin/token or force_refresh, and for a token server that hands out old ones.";
const NEW_TOKEN_ZH: &str = "本程序会自动重新获取。若反复出现，请检查是否有其他程序用 /cgi-bin/token 或 force_refresh 刷新同一 appid 的 token，或中控服务器返回了旧 token。";
const CHECK_SECRET: &str = "Compare the configured AppSecret and appid with mp.weixin.qq.com, 开发管理 → 开发设置 → 开发者ID; after a reset only the newest AppSecret works.";
const CHECK_SECRET_ZH: &str = "到 mp.weixin.qq.com「开发管理 → 开发设置 → 开发者ID」核对 AppID 与 AppSecret；重置后旧密钥立即失效。";
const ASK_ADMIN: &str = "Let an administrator of the Mini Program confirm the call in the message that WeChat sent to their phone.";
const ASK_ADMIN_ZH: &str = "请小程序管理员在手机微信收到的通知中确认此次调用。";
const API_SECURITY: &str = "Switch API encryption off at mp.weixin.qq.com, 开发管理 → 开发设置 → API安全; the exporter can't sign or encrypt its calls.";
const API_SECURITY_ZH: &str = "到 mp.weixin.qq.com「开发管理 → 开发设置 → API安全」关闭 API 加密；本程序不支持签名与加密调用。";
const AUTHORISE_AGAIN: &str = "Let the merchant authorise the platform again at the platform's authorisation page, with permission set 45 or 71 (物流).";
const AUTHORISE_AGAIN_ZH: &str =
    "请商家重新扫码授权给第三方平台，并勾选物流相关权限集（45 或 71）。";
const PLATFORM: &str = "Mend it in the third-party platform's settings at open.weixin.qq.com, 管理中心 → 第三方平台, or in the program that keeps its tokens.";
const PLATFORM_ZH: &str =
    "到 open.weixin.qq.com「管理中心 → 第三方平台」检查配置，或检查保存平台 token 的程序。";
const CLOUD_CONSOLE: &str = "See the function's log and settings in the cloud development console (WeChat DevTools → 云开发 → 云函数).";
const CLOUD_CONSOLE_ZH: &str =
    "到云开发控制台（微信开发者工具 → 云开发 → 云函数）查看该函数的日志与配置。";
const CHECK_ENV: &str = "Compare `cloud_function` in the configuration with the environment id and the function's name in WeChat DevTools → 云开发 → 设置.";
const CHECK_ENV_ZH: &str =
    "核对配置中的 cloud_function 与微信开发者工具「云开发 → 设置」中的环境 ID、云函数名称。";
const CHECK_ACCOUNT: &str =
    "Compare the account with mp.weixin.qq.com, 功能 → 物流助手, and bind it again if needed.";
const CHECK_ACCOUNT_ZH: &str =
    "到 mp.weixin.qq.com「功能 → 物流助手」核对该快递账号，必要时重新绑定。";

#[rustfmt::skip]
static TABLE: &[Entry] = &[
    // Tokens and credentials.
    entry(-1, Reason::Transient,
        ["WeChat is busy", TRY_AGAIN],
        ["微信系统繁忙", TRY_AGAIN_ZH]),
    entry(-1000, Reason::Transient,
        ["WeChat had a system error", TRY_AGAIN],
        ["微信系统错误", TRY_AGAIN_ZH]),
    entry(40001, Reason::Config,
        ["The AppSecret is wrong or belongs to another appid", CHECK_SECRET],
        ["AppSecret 错误，或不属于该 appid", CHECK_SECRET_ZH]).only(At::TokenEndpoints),
    entry(40001, Reason::Token,
        ["The access token is invalid or not the latest one", NEW_TOKEN],
        ["access_token 无效或不是最新的", NEW_TOKEN_ZH]).only(At::Elsewhere),
    entry(40014, Reason::Config,
        ["The request for a token was refused as invalid", CHECK_SECRET],
        ["获取 token 的请求无效", CHECK_SECRET_ZH]).only(At::TokenEndpoints),
    entry(40014, Reason::Token,
        ["The access token is invalid", NEW_TOKEN],
        ["access_token 不合法", NEW_TOKEN_ZH]).only(At::Elsewhere),
    entry(42001, Reason::Token,
        ["The access token has expired", NEW_TOKEN],
        ["access_token 已过期", NEW_TOKEN_ZH]),
    entry(40013, Reason::Config,
        ["The appid is invalid", CHECK_SECRET],
        ["appid 无效", CHECK_SECRET_ZH]),
    entry(40125, Reason::Config,
        ["The AppSecret is invalid", CHECK_SECRET],
        ["AppSecret 无效", CHECK_SECRET_ZH]),
    entry(40243, Reason::Config,
        ["The AppSecret is frozen by an administrator", "Unfreeze it at mp.weixin.qq.com, 开发管理 → 开发设置 → 开发者ID; the cloud call goes on working meanwhile."],
        ["AppSecret 已被管理员冻结", "到 mp.weixin.qq.com「开发管理 → 开发设置 → 开发者ID」解冻；冻结期间云调用仍可用。"]),
    entry(40164, Reason::IpWhitelist,
        ["The address that this machine calls from is not in the Mini Program's IP whitelist", "Add the address that the message names at mp.weixin.qq.com, 开发管理 → 开发设置 → IP白名单; it takes about 5 minutes to apply."],
        ["本机出口 IP 不在小程序的 IP 白名单中", "到 mp.weixin.qq.com「开发管理 → 开发设置 → IP白名单」添加错误信息中的 IP，约 5 分钟后生效。"]),
    entry(41001, Reason::Config,
        ["The call carried no access token", "In Cloud Run (云托管): switch the open-interface service (开放接口服务) on at cloud.weixin.qq.com/cloudrun, 云调用, and publish a new version afterwards. Elsewhere: configure where the token comes from under `access_token`."],
        ["请求未携带 access_token", "云托管：到 cloud.weixin.qq.com/cloudrun「云调用」开启开放接口服务，并在之后发布新版本；其他环境：在配置的 access_token 中指定 token 来源。"]),
    entry(40002, Reason::Config,
        ["The grant type is wrong", REPORT],
        ["grant_type 错误", REPORT_ZH]),
    entry(41002, Reason::Config,
        ["The appid is missing", "Set `appid`; the configuration has none or a proxy drops it."],
        ["缺少 appid", "请检查配置中的 appid。"]),
    entry(41004, Reason::Config,
        ["The AppSecret is missing", "See that the file or the variable that holds the AppSecret is not empty."],
        ["缺少 AppSecret", "请检查保存 AppSecret 的文件或环境变量是否为空。"]),
    entry(43002, Reason::Config,
        ["The call has to be a POST", REPORT],
        ["需要 POST 请求", REPORT_ZH]),
    entry(40097, Reason::Config,
        ["An argument is wrong", REPORT],
        ["参数错误", REPORT_ZH]),
    entry(40101, Reason::Config,
        ["A parameter is missing", REPORT],
        ["缺少必填参数", REPORT_ZH]),
    entry(44002, Reason::Config,
        ["The body is empty", REPORT],
        ["POST 数据包为空", REPORT_ZH]),
    entry(47001, Reason::Config,
        ["The body can't be read", REPORT],
        ["请求数据格式错误", REPORT_ZH]),
    entry(40234, Reason::Config,
        ["WeChat asks for a signature, because API encryption (API 安全) is on", API_SECURITY],
        ["已开启 API 安全，请求缺少签名", API_SECURITY_ZH]),
    entry(40235, Reason::Config,
        ["WeChat asks for an encrypted request, because API encryption (API 安全) is on", API_SECURITY],
        ["已开启 API 安全，请求未加密", API_SECURITY_ZH]),
    entry(89503, Reason::Config,
        ["The call waits for an administrator's confirmation", ASK_ADMIN],
        ["此次调用需要管理员确认", ASK_ADMIN_ZH]),
    entry(89501, Reason::IpWhitelist,
        ["The address that this machine calls from waits for an administrator's confirmation", ASK_ADMIN],
        ["此 IP 正在等待管理员确认", ASK_ADMIN_ZH]),
    entry(89506, Reason::IpWhitelist,
        ["An administrator refused this machine's address twice; it can't call for 24 hours", ASK_ADMIN],
        ["管理员已两次拒绝此 IP,24 小时内不可调用", ASK_ADMIN_ZH]),
    entry(89507, Reason::IpWhitelist,
        ["An administrator refused this machine's address; it can't call for an hour", ASK_ADMIN],
        ["管理员已拒绝此 IP,1 小时内不可调用", ASK_ADMIN_ZH]),

    // Quotas.
    entry(45009, Reason::DailyQuota,
        ["WeChat's quota of calls to this API is used up", "Wait until midnight in China, or clear the quota (ten times a month) at mp.weixin.qq.com, 开发管理 → 接口设置; see which other programs call this API."],
        ["该接口的调用次数已达上限", "等到次日零点，或到 mp.weixin.qq.com「开发管理 → 接口设置」清零（每月 10 次）；并检查还有哪些程序在调用该接口。"]),
    entry(45011, Reason::Rate,
        ["Too many calls in this minute", "Nothing to do; calls go on after a minute. If it comes back, raise `min_interval` or see which other programs call this API."],
        ["调用过于频繁，已达分钟上限", "无需处理，一分钟后自动恢复；若反复出现，请调大 min_interval，或检查其他程序的调用频率。"]),

    // Permissions.
    entry(48001, Reason::Permission,
        ["The Mini Program may not call this API", "Open 物流助手 for the Mini Program at mp.weixin.qq.com, 功能 → 物流助手. A third-party platform needs permission set 45 or 71 and the authoriser's own token; in Cloud Run `from_appid` must name the app that shares its resources."],
        ["该小程序没有此接口的权限", "到 mp.weixin.qq.com「功能 → 物流助手」开通；第三方平台需权限集 45 或 71 并使用 authorizer_access_token；云托管资源复用需填写 from_appid。"]),
    entry(48004, Reason::Permission,
        ["This API is banned for the Mini Program", "See the notices at mp.weixin.qq.com, 通知中心, for the cause and how to appeal."],
        ["该小程序的此接口已被封禁", "到 mp.weixin.qq.com「通知中心」查看封禁原因与申诉方式。"]),
    entry(50001, Reason::Permission,
        ["The user did not authorise this API", "Open 物流助手 at mp.weixin.qq.com, 功能 → 物流助手, or let the merchant authorise the platform again."],
        ["用户未授权该接口", "到 mp.weixin.qq.com「功能 → 物流助手」开通，或请商家重新授权。"]),
    entry(50002, Reason::Permission,
        ["The Mini Program is restricted, most often after a violation", "See the notices at mp.weixin.qq.com, 通知中心."],
        ["该小程序受限，可能因违规被处罚", "到 mp.weixin.qq.com「通知中心」查看处罚通知。"]),
    entry(50004, Reason::Permission,
        ["The Mini Program may not use tokens", "See the notices at mp.weixin.qq.com, 通知中心."],
        ["该小程序被禁止使用 token 接口", "到 mp.weixin.qq.com「通知中心」查看通知。"]),
    entry(50007, Reason::Permission,
        ["The Mini Program's account is frozen", "See the notices at mp.weixin.qq.com, 通知中心."],
        ["该小程序账号已被冻结", "到 mp.weixin.qq.com「通知中心」查看通知。"]),
    entry(48017, Reason::Config,
        ["The call reached an address of api.weixin.qq.com that is no longer in service", "Remove the pinned address from /etc/hosts, the DNS server or the proxy; names must be resolved anew."],
        ["请求到了 api.weixin.qq.com 已下线的 IP", "请删除 /etc/hosts、DNS 或代理中写死的 IP，按域名实时解析。"]),

    // Third-party platforms.
    entry(42002, Reason::Config,
        ["The platform's refresh token has expired", AUTHORISE_AGAIN],
        ["refresh_token 已过期", AUTHORISE_AGAIN_ZH]),
    entry(42007, Reason::Config,
        ["The authorisation ended, because the merchant changed the password", AUTHORISE_AGAIN],
        ["商家修改了密码，授权已失效", AUTHORISE_AGAIN_ZH]),
    entry(61003, Reason::Permission,
        ["The merchant has not authorised the platform", AUTHORISE_AGAIN],
        ["商家未授权给该第三方平台", AUTHORISE_AGAIN_ZH]),
    entry(61007, Reason::Permission,
        ["The merchant has not authorised this API to the platform", AUTHORISE_AGAIN],
        ["商家未将此接口授权给该第三方平台", AUTHORISE_AGAIN_ZH]),
    entry(61023, Reason::Config,
        ["The platform's refresh token is invalid", AUTHORISE_AGAIN],
        ["refresh_token 无效", AUTHORISE_AGAIN_ZH]),
    entry(61004, Reason::IpWhitelist,
        ["The address that this machine calls from is not in the platform's IP whitelist", "Add it at open.weixin.qq.com, 管理中心 → 第三方平台 → 开发资料 → 白名单IP地址列表."],
        ["本机出口 IP 不在第三方平台的白名单中", "到 open.weixin.qq.com「管理中心 → 第三方平台 → 开发资料 → 白名单IP地址列表」添加。"]),
    entry(61005, Reason::Config,
        ["The platform's ticket has expired", PLATFORM],
        ["component_verify_ticket 已过期", PLATFORM_ZH]),
    entry(61006, Reason::Config,
        ["The platform's ticket is invalid", PLATFORM],
        ["component_verify_ticket 无效", PLATFORM_ZH]),
    entry(61011, Reason::Config,
        ["The platform is invalid", PLATFORM],
        ["第三方平台无效", PLATFORM_ZH]),

    // WeChat's own figures of an API.
    entry(76003, Reason::Config,
        ["The API's path is written wrongly", REPORT],
        ["cgi_path 填写有误", REPORT_ZH]),
    entry(76021, Reason::Config,
        ["WeChat keeps no figures of this API", "Switch `api_quota` off for this app."],
        ["微信没有该接口的额度数据", "请为该应用关闭 api_quota。"]),
    entry(76022, Reason::Config,
        ["The token is not of the kind that may ask for an API's figures", "Switch `api_quota` off for this app; with a platform's token or the cloud call it can't work."],
        ["当前 token 类型不能查询接口额度", "请为该应用关闭 api_quota；第三方平台 token 与云调用不支持。"]),

    // CourierNames.
    entry(9_300_501, Reason::Transient,
        ["The courier's own system failed", "Nothing to do; the next call tries again. If it lasts, ask the courier's outlet."],
        ["快递公司系统返回失败", "无需处理，会自动重试；若持续，请联系快递网点。"]),
    entry(9_300_525, Reason::Config,
        ["The account is not bound", CHECK_ACCOUNT],
        ["该快递账号未绑定", CHECK_ACCOUNT_ZH]),
    entry(9_300_529, Reason::Config,
        ["The account is bound already", CHECK_ACCOUNT],
        ["该快递账号已绑定", CHECK_ACCOUNT_ZH]),
    entry(9_300_530, Reason::Config,
        ["The account is not known", CHECK_ACCOUNT],
        ["该快递账号不存在", CHECK_ACCOUNT_ZH]),
    entry(9_300_531, Reason::Config,
        ["The account or its password at the courier is wrong", CHECK_ACCOUNT],
        ["快递账号或密码错误", CHECK_ACCOUNT_ZH]),
    entry(9_300_532, Reason::Config,
        ["The account is still under review", CHECK_ACCOUNT],
        ["该快递账号正在审核中", CHECK_ACCOUNT_ZH]),

    // Cloud call and Cloud Run.
    entry(85088, Reason::Config,
        ["The Mini Program has no cloud development (云开发)", "Open it in WeChat DevTools → 云开发, or remove `cloud_function` from the configuration."],
        ["该小程序未开通云开发", "在微信开发者工具「云开发」中开通，或从配置中去掉 cloud_function。"]),
    entry(85112, Reason::Config,
        ["Cloud Run's gateway could not pass the call on", "See the open-interface service (开放接口服务) at cloud.weixin.qq.com/cloudrun, 云调用."],
        ["云托管网关转发失败", "到 cloud.weixin.qq.com/cloudrun「云调用」检查开放接口服务。"]),
    entry(-501_001, Reason::Transient,
        ["The cloud had a system error", TRY_AGAIN],
        ["云端系统错误", TRY_AGAIN_ZH]),
    entry(-501_002, Reason::Timeout,
        ["The cloud did not answer in time", TRY_AGAIN],
        ["云端响应超时", TRY_AGAIN_ZH]),
    entry(-501_003, Reason::Config,
        ["The cloud environment's quota of requests is used up", CLOUD_CONSOLE],
        ["请求次数超出云环境配额", CLOUD_CONSOLE_ZH]),
    entry(-501_004, Reason::Rate,
        ["Too many requests to the cloud environment at one time", CLOUD_CONSOLE],
        ["请求并发数超出云环境配额", CLOUD_CONSOLE_ZH]),
    entry(-501_005, Reason::Config,
        ["The cloud environment is wrong or out of order", CHECK_ENV],
        ["云环境信息异常", CHECK_ENV_ZH]),
    entry(-501_006, Reason::Config,
        ["A parameter for the cloud environment is wrong", CHECK_ENV],
        ["云环境参数错误", CHECK_ENV_ZH]),
    entry(-501_007, Reason::Config,
        ["A parameter for the cloud environment is wrong", CHECK_ENV],
        ["云环境参数错误", CHECK_ENV_ZH]),
    entry(-501_008, Reason::Config,
        ["The cloud environment refused the request", CHECK_ENV],
        ["云环境拒绝了请求", CHECK_ENV_ZH]),
    entry(-501_009, Reason::Config,
        ["The cloud function or its environment doesn't exist", CHECK_ENV],
        ["操作的云资源不存在或不合法", CHECK_ENV_ZH]),
    entry(-504_001, Reason::Transient,
        ["The cloud function could not be called", TRY_AGAIN],
        ["云函数调用失败", TRY_AGAIN_ZH]),
    entry(-504_002, Reason::Config,
        ["The cloud function failed while it ran", CLOUD_CONSOLE],
        ["云函数执行失败", CLOUD_CONSOLE_ZH]),
    entry(-504_003, Reason::Timeout,
        ["The cloud function ran into its time limit", "Raise the function's time limit in WeChat DevTools → 云开发 → 云函数 → 配置; called over HTTPS it has 5 seconds at most."],
        ["云函数执行超时", "在微信开发者工具「云开发 → 云函数 → 配置」调大超时时间；经 HTTPS 触发最长 5 秒。"]),
    entry(-604_001, Reason::Config,
        ["The cloud function's result is larger than 1 MB", "Let the function return less, or read the list by the HTTPS call."],
        ["云函数返回结果超过 1 MB", "请减少云函数的返回内容，或改用 HTTPS 调用。"]),
    entry(-604_100, Reason::Config,
        ["The cloud call doesn't know this API", "Update wx-server-sdk in the function and upload it again from WeChat DevTools."],
        ["云调用找不到该 API", "请升级云函数中的 wx-server-sdk 并重新上传部署。"]),
    entry(-604_101, Reason::Permission,
        ["The cloud function has no permission for this API", "Add logistics.getAllAccount under permissions.openapi of the function's config.json and upload it from WeChat DevTools; the old permission stays in a cache for 10 minutes."],
        ["云函数没有调用该 API 的权限", "在云函数 config.json 的 permissions.openapi 中加入 logistics.getAllAccount，用微信开发者工具重新上传；权限缓存 10 分钟后生效。"]),
    entry(-604_102, Reason::Timeout,
        ["WeChat's API did not answer the cloud function in time", TRY_AGAIN],
        ["云调用请求超时", TRY_AGAIN_ZH]),
    entry(-604_103, Reason::Transient,
        ["The cloud call had a system error", TRY_AGAIN],
        ["云调用系统错误", TRY_AGAIN_ZH]),
    entry(-604_104, Reason::Config,
        ["The cloud function was called from where the cloud call is not allowed", CLOUD_CONSOLE],
        ["云调用的触发来源不合法", CLOUD_CONSOLE_ZH]),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::status::translations::assert_chinese_punctuation;

    #[test]
    fn each_errcode_has_one_meaning_for_each_endpoint() {
        for at in [Api::AccountGetall, Api::StableToken] {
            let mut seen = HashSet::new();
            let here = |entry: &&Entry| {
                entry.at == At::Anywhere || (entry.at == At::TokenEndpoints) == mints_token(at)
            };
            for entry in TABLE.iter().filter(here) {
                assert!(seen.insert(entry.errcode), "{} stands twice", entry.errcode);
            }
        }
    }

    #[test]
    fn each_explanation_is_whole_and_in_its_language() {
        let is_chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
        for entry in TABLE {
            let errcode = entry.errcode;
            let it = &entry.explanation;
            assert!(
                it.meaning.starts_with(|c: char| c.is_ascii_uppercase()),
                "{errcode}"
            );
            assert!(
                !it.meaning.ends_with('.') && it.cure.ends_with('.'),
                "{errcode}"
            );
            assert!(it.meaning_zh.contains(is_chinese), "{errcode}");
            assert_chinese_punctuation(it.meaning_zh);
            assert_chinese_punctuation(it.cure_zh);
            assert!(
                it.cure_zh.contains(is_chinese) && it.cure_zh.ends_with('。'),
                "{errcode}"
            );
        }
    }

    #[test]
    fn reasons_follow_what_the_operator_can_do() {
        let at = Api::AccountGetall;
        for (errcode, expected) in [
            (-1, Reason::Transient),
            (40001, Reason::Token),
            (40014, Reason::Token),
            (42001, Reason::Token),
            (40013, Reason::Config),
            (40125, Reason::Config),
            (40164, Reason::IpWhitelist),
            (40243, Reason::Config),
            (41001, Reason::Config),
            (45009, Reason::DailyQuota),
            (45011, Reason::Rate),
            (48001, Reason::Permission),
            (48004, Reason::Permission),
            (61007, Reason::Permission),
            (85088, Reason::Config),
            (89503, Reason::Config),
            (-604_101, Reason::Permission),
            (-601_018, Reason::Transient),
            (43101, Reason::Unknown),
            (i64::MIN, Reason::Unknown),
        ] {
            assert_eq!(reason(errcode, "", at), expected, "{errcode}");
        }
    }

    #[test]
    fn wrong_secret_is_told_from_a_stale_token_by_the_endpoint() {
        for at in [Api::StableToken, Api::Token] {
            assert_eq!(reason(40001, "", at), Reason::Config);
            let explained = explain(40001, Reason::Config, at).unwrap();
            assert!(explained.meaning.contains("AppSecret"));
        }
        // The advice to clear the day's quota would waste one of ten times a month.
        assert!(explain(45009, Reason::Rate, Api::AccountGetall).is_none());
        let elsewhere = explain(40001, Reason::Token, Api::QuotaGet).unwrap();
        assert!(elsewhere.meaning.contains("access token"));
    }

    #[test]
    fn quota_of_the_minute_is_told_from_that_of_the_day_by_the_message() {
        let at = Api::AccountGetall;
        let daily = "reach max api daily quota limit rid: 60c976e4-051e6c8e-47215cd3";
        assert_eq!(reason(45009, daily, at), Reason::DailyQuota);
        let minute = "reach max api Minute quota limit";
        assert_eq!(reason(45009, minute, at), Reason::Rate);
    }

    #[test]
    fn function_stopped_by_its_time_limit_is_a_timeout() {
        let at = Api::InvokeCloudFunction;
        let stopped = "Invoking task timed out after 3 seconds";
        assert_eq!(reason(-504_002, stopped, at), Reason::Timeout);
        assert_eq!(reason(-504_002, "TypeError", at), Reason::Config);
    }

    #[test]
    fn address_to_whitelist_is_read_from_the_message() {
        let v4 = "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 60c976e4-051e6c8e-47215cd3";
        assert_eq!(address_to_whitelist(v4), Some([203, 0, 113, 7].into()));
        let v6 = "invalid ip 2001:db8::1, not in whitelist";
        assert_eq!(address_to_whitelist(v6), "2001:db8::1".parse().ok());
        for other in ["", "invalid ip ", "invalid ip <b>, not", "not in whitelist"] {
            assert_eq!(address_to_whitelist(other), None, "{other}");
        }
    }

    #[test]
    fn address_is_still_found_in_the_errors_text() {
        use crate::wechat::Error;
        use crate::wechat::reply::Fault;
        let errmsg = "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist";
        let fault = Fault::Refused {
            errcode: 40164,
            errmsg: errmsg.into(),
        };
        let error = Error::from_fault(Api::StableToken, fault, &["secret"]);
        assert_eq!(
            address_to_whitelist(&error.to_string()),
            Some([203, 0, 113, 7].into())
        );
    }
}
