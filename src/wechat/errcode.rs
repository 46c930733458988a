//! The meaning of WeChat's errcodes: one table that feeds the `reason` label, the status page and `check`.
//!
//! Sources: the tables of `developers.weixin.qq.com/doc/service/api/base/api_getstableaccesstoken` and its siblings, of
//! `wxcloud/reference` and Cloud Run's FAQ, of `wx-server-sdk`, and of the client libraries `WxJava` and `wechatpy`,
//! read in November 2026. Where WeChat documents a code with only half a sentence, the fix comes from answers by the
//! forum's staff or from reports by users of other projects.

use super::explanation::Text;
use super::{Api, Cause, CredentialKind, Reason, Symptom};

/// The meaning of an errcode in one place, and how to fix it.
pub(super) struct Row {
    errcodes: &'static [i64],
    place: Place,
    pub(super) reason: Reason,
    pub(super) meaning: Text,
    pub(super) fix: Text,
}

/// The kind of call in which an errcode has the meaning of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Anywhere,
    /// A call that mints a token.
    TokenCall,
    /// A call that mints a token with `/cgi-bin/token`.
    OldTokenCall,
    /// A call through Cloud Run's open-interface service.
    OpenInterface,
    /// A call that the cloud function makes.
    Function,
    /// A call with a token that another program keeps.
    ForeignToken,
}

impl Place {
    fn includes(self, cause: &Cause, credential: Option<CredentialKind>) -> bool {
        use CredentialKind::{Command, File, Http, None as NoToken, Redis};
        let function = cause.symptom == Some(Symptom::FunctionRefused);
        match self {
            Self::Anywhere => true,
            Self::TokenCall => cause.api.is_some_and(Api::mints_token),
            Self::OldTokenCall => cause.api == Some(Api::Token),
            Self::Function => function,
            Self::OpenInterface => credential == Some(NoToken) && !function,
            Self::ForeignToken => {
                matches!(credential, Some(File | Http | Command | Redis)) && !function
            }
        }
    }
}

/// Returns the row that explains a failure, or `None` if the errcode is not known.
pub(super) fn explain(cause: &Cause, credential: CredentialKind) -> Option<&'static Row> {
    rows(cause.errcode)
        .find(|row| row.reason == cause.reason && row.place.includes(cause, Some(credential)))
}

/// Returns the reason that an errcode stands for.
pub(super) fn reason(errcode: i64, errmsg: &str, api: Api) -> Reason {
    let cause = Cause {
        reason: Reason::Unknown,
        api: Some(api),
        errcode,
        symptom: None,
    };
    match errcode {
        // Documented as the daily limit, but the message may say that it was a limit per minute.
        45009 if errmsg.to_ascii_lowercase().contains("minute") => Reason::Rate,
        // WeChat uses this code for failed functions, including those that exceeded their time limit.
        -504_002 if errmsg.contains("timed out") => Reason::Timeout,
        _ => rows(errcode)
            .find(|row| row.place.includes(&cause, None))
            .map_or(Reason::Unknown, |row| row.reason),
    }
}

#[cfg(test)]
pub(super) fn is_known(errcode: i64) -> bool {
    rows(errcode).next().is_some()
}

fn rows(errcode: i64) -> impl Iterator<Item = &'static Row> {
    TABLE
        .iter()
        .filter(move |row| row.errcodes.contains(&errcode))
}

/// Defines the fixes, which several errcodes may share, in English and Chinese.
macro_rules! fixes {
    ($($name:ident: $english:literal $chinese:literal)+) => {
        $(pub(super) const $name: Text = [$english, $chinese];)+
    };
}

/// Defines the table. Each place lists errcodes with their reason, fix, and meaning in English and Chinese.
macro_rules! table {
    ($($place:ident {
        $($($errcode:literal)|+ $reason:ident $fix:ident: $english:literal $chinese:literal)+
    })+) => {
        static TABLE: &[Row] = &[
            $($(Row {
                errcodes: &[$($errcode),+],
                place: Place::$place,
                reason: Reason::$reason,
                meaning: [$english, $chinese],
                fix: $fix,
            },)+)+
        ];
    };
}

fixes! {
    TRY_AGAIN: "Nothing to do: the next scrape tries again. If it lasts for hours, look for an announcement at developers.weixin.qq.com."
        "无需处理，下一次抓取会重试。若持续数小时，请到微信开放社区 developers.weixin.qq.com 查看故障公告。"
    REPORT: "A proxy changes the exporter's requests, or the exporter has a bug: if there is no proxy, please report it with the details below."
        "有代理改写了请求，或导出器有缺陷：若没有代理，请附上下面的详情反馈给我们。"
    CHECK_SECRET: "Compare the configured appid and AppSecret with mp.weixin.qq.com, 开发管理 → 开发设置 → 开发者ID. After a reset only the newest AppSecret works."
        "请在 mp.weixin.qq.com 的“开发管理 → 开发设置 → 开发者ID”核对 AppID 和 AppSecret。重置后仅最新的 AppSecret 有效。"
    UNFREEZE: "Unfreeze it at mp.weixin.qq.com, 开发管理 → 开发设置 → 开发者ID. The cloud call goes on working meanwhile."
        "请在 mp.weixin.qq.com 的“开发管理 → 开发设置 → 开发者ID”解冻。冻结期间云调用仍可用。"
    WHITELIST: "Add the address that the details name at mp.weixin.qq.com, 开发管理 → 开发设置 → IP白名单. It takes about 5 minutes to apply."
        "请在 mp.weixin.qq.com 的“开发管理 → 开发设置 → IP白名单”添加详情中的 IP，约 5 分钟后生效。"
    PLATFORM_WHITELIST: "Add the address that the details name at open.weixin.qq.com, 管理中心 → 第三方平台 → 开发资料 → 白名单IP地址列表."
        "请在 open.weixin.qq.com 的“管理中心 → 第三方平台 → 开发资料 → 白名单IP地址列表”添加详情中的 IP。"
    EITHER_WHITELIST: "Add the address that the details name at mp.weixin.qq.com, 开发管理 → 开发设置 → IP白名单; for a third-party platform at open.weixin.qq.com, 管理中心 → 第三方平台 → 开发资料 → 白名单IP地址列表."
        "请在 mp.weixin.qq.com 的“开发管理 → 开发设置 → IP白名单”添加详情中的 IP；第三方平台请在 open.weixin.qq.com 的“管理中心 → 第三方平台 → 开发资料 → 白名单IP地址列表”添加。"
    ASK_ADMIN: "Let an administrator of the Mini Program confirm the call in the message that WeChat sent to their phone."
        "请小程序管理员在手机微信收到的通知中确认此次调用。"
    REFUSED_BY_ADMIN: "Agree with the administrator, then wait until the time is over and let them accept the next message. An address in the IP whitelist needs no confirmation: mp.weixin.qq.com, 开发管理 → 开发设置 → IP白名单."
        "请先与管理员沟通，等限制时间结束后请其同意下一条通知。加入 IP白名单的地址无需确认：mp.weixin.qq.com 的“开发管理 → 开发设置 → IP白名单”。"
    OPEN_INTERFACE: "Switch 开放接口服务 on at cloud.weixin.qq.com/cloudrun, 服务管理 → 云调用, and publish a new version afterwards. Right after a container starts the service may still be starting: then it passes within a minute."
        "请在 cloud.weixin.qq.com/cloudrun 的“服务管理 → 云调用”开启开放接口服务，并在之后发布新版本。容器刚启动时该服务可能尚未就绪，一分钟内会自行恢复。"
    TOKEN_LOST: "The exporter sent a token, so that it was lost on the way: see whether `--wechat.api-url` is WeChat's and whether a proxy removes the query from the URL."
        "导出器已发送 access_token，是在途中丢失的：请检查 --wechat.api-url 是否为微信的域名，以及代理是否去掉了 URL 中的参数。"
    API_URL: "See whether `--wechat.api-url` is WeChat's, by default https://api.weixin.qq.com. If it is, a proxy on the way changes the URL: let api.weixin.qq.com pass unchanged."
        "请检查 --wechat.api-url 是否为微信的域名，默认 https://api.weixin.qq.com。若无误，则是途中的代理改写了 URL，请让 api.weixin.qq.com 原样通过。"
    PINNED_ADDRESS: "Remove the pinned address of api.weixin.qq.com from /etc/hosts, the DNS server or the proxy: the name must be resolved each time."
        "请删除 /etc/hosts、DNS 或代理中写死的 api.weixin.qq.com 的 IP，应实时解析域名。"
    WAIT_FOR_MIDNIGHT: "Calls go on after midnight, China time. See which other programs call this API, and raise `--wechat.min-interval`. An administrator can clear the quota ten times a month at mp.weixin.qq.com, 开发管理 → 接口设置."
        "北京时间零点后恢复。请检查还有哪些程序调用该接口，并调大 --wechat.min-interval。管理员可在 mp.weixin.qq.com 的“开发管理 → 接口设置”清零，每月 10 次。"
    STABLE_TOKEN: "Use `stable_token` instead of `token` in the configuration: it has a quota of its own. Something asks /cgi-bin/token for this appid thousands of times a day, and each call ends the token before it."
        "请在配置中将 token 改为 stable_token，其额度独立计算。有程序每天数千次用 /cgi-bin/token 为该 appid 取 token，每次都会使之前的 token 失效。"
    WAIT_A_MINUTE: "Nothing, if it is rare: calls go on after the wait. If it is not, see which other programs call this API, and raise `--wechat.min-interval`."
        "偶尔出现无需处理，等待后会自动恢复。若经常出现，请检查还有哪些程序调用该接口，并调大 --wechat.min-interval。"
    OPEN_LOGISTICS: "Open 物流助手 for the Mini Program at mp.weixin.qq.com, 功能 → 物流助手."
        "请在 mp.weixin.qq.com 的“功能 → 物流助手”为该小程序开通。"
    OPEN_LOGISTICS_OR_GRANT: "Open 物流助手 for the Mini Program at mp.weixin.qq.com, 功能 → 物流助手. If the token is a third-party platform's, it must be the merchant's authorizer_access_token, with permission set 45 or 71 granted."
        "请在 mp.weixin.qq.com 的“功能 → 物流助手”为该小程序开通。若 token 来自第三方平台，须为商家的 authorizer_access_token，且已授予权限集 45 或 71。"
    FROM_APPID: "Open 物流助手 for the Mini Program at mp.weixin.qq.com, 功能 → 物流助手. Where Cloud Run's resources are shared between Mini Programs, set `from_appid` to the one that owns the accounts."
        "请在 mp.weixin.qq.com 的“功能 → 物流助手”为该小程序开通。若云托管为资源复用，请将 from_appid 设为快递账号所属的小程序。"
    ACCOUNT_TYPE: "Look at mp.weixin.qq.com, 设置 → 基本设置, whether this appid is a Mini Program (小程序) whose registration is complete: an account of another type, or one that isn't registered yet, gets no token."
        "请在 mp.weixin.qq.com 的“设置 → 基本设置”检查该 appid 是否为已完成注册的小程序：其他类型或未完成注册的账号不能获取 token。"
    NOTICES: "See the notices at mp.weixin.qq.com, 通知中心, for the cause and how to appeal."
        "请在 mp.weixin.qq.com 的“通知中心”查看原因与申诉方式。"
    AUTHORISE_AGAIN: "Let the merchant authorise the third-party platform again on the platform's page, with permission set 45 or 71 (物流)."
        "请商家重新授权给第三方平台，并勾选物流权限集（45 或 71）。"
    PLATFORM: "Fix it in the third-party platform's settings at open.weixin.qq.com, 管理中心 → 第三方平台, or in the program that keeps its tokens."
        "请在 open.weixin.qq.com 的“管理中心 → 第三方平台”检查配置，或检查保存平台 token 的程序。"
    AUTHORIZER_TOKEN: "Use the merchant's authorizer_access_token with the merchant's appid: the platform's own component_access_token and component_appid don't work for this API."
        "请使用商家的 appid 和 authorizer_access_token：平台自己的 component_access_token 和 component_appid 不能用于该接口。"
    NO_API_QUOTA: "Switch `api_quota` off for this app: a third-party platform's token and the cloud call can't ask for an API's figures."
        "请为该小程序关闭 api_quota：第三方平台的 token 和云调用不能查询接口额度。"
    ASK_OUTLET: "Nothing to do: the next call tries again. If it lasts, ask the courier's outlet (网点)."
        "无需处理，会自动重试。若持续，请联系快递网点。"
    CHECK_ACCOUNT: "Compare the account with mp.weixin.qq.com, 功能 → 物流助手, and bind it again if needed."
        "请在 mp.weixin.qq.com 的“功能 → 物流助手”核对该快递账号，必要时重新绑定。"
    OPEN_CLOUD: "Open 云开发 in WeChat DevTools, or 云托管 at cloud.weixin.qq.com/cloudrun, for this Mini Program, and compare `cloud_function` (env and name) with what is shown there."
        "请在微信开发者工具中为该小程序开通云开发，或在 cloud.weixin.qq.com/cloudrun 开通云托管，并核对配置中 cloud_function 的环境 ID（env）和云函数名称（name）。"
    CHECK_ENV: "Compare env and name of `cloud_function` in the configuration with the environment ID and the function's name in WeChat DevTools, 云开发 → 设置 and 云函数."
        "请将配置中 cloud_function 的 env 和 name 与微信开发者工具“云开发 → 设置”中的环境 ID 和“云函数”中的名称核对。"
    UPLOAD_FUNCTION: "Upload the function from WeChat DevTools (上传并部署), and compare env and name of `cloud_function` in the configuration with the environment ID and the function's name in 云开发 → 设置 and 云函数."
        "请在微信开发者工具中上传并部署该云函数，并将配置中 cloud_function 的 env 和 name 与“云开发 → 设置”中的环境 ID 和“云函数”中的名称核对。"
    CLOUD_QUOTA: "See the environment's usage and package in WeChat DevTools, 云开发 → 设置 → 用量, and raise the package or call less often."
        "请在微信开发者工具“云开发 → 设置 → 用量”查看环境的用量和套餐，升级套餐或降低调用频率。"
    CLOUD_PERMISSION: "Compare env of `cloud_function` with WeChat DevTools, 云开发 → 设置: the environment must belong to this Mini Program, or be shared with it (环境共享)."
        "请将 cloud_function 的 env 与微信开发者工具“云开发 → 设置”核对：环境须属于该小程序，或已共享给它（环境共享）。"
    FUNCTION_LOG: "See the function's own log in WeChat DevTools, 云开发 → 云函数 → 日志: it tells where the function failed."
        "请在微信开发者工具“云开发 → 云函数 → 日志”查看该函数的日志，其中有失败的位置。"
    FUNCTION_TIME: "Raise the function's time limit in WeChat DevTools, 云开发 → 云函数 → 配置. Called over HTTPS it has 5 seconds at most."
        "请在微信开发者工具“云开发 → 云函数 → 配置”调大超时时间。经 HTTPS 触发最长 5 秒。"
    RETURN_LESS: "Let the function return less, or read the account list by the HTTPS call: leave `cloud_function` out."
        "请减少云函数的返回内容，或去掉 cloud_function 改用 HTTPS 调用。"
    UPDATE_SDK: "Update wx-server-sdk in the function and upload it again from WeChat DevTools (上传并部署)."
        "请升级云函数中的 wx-server-sdk，并用微信开发者工具重新上传并部署。"
    CONFIG_JSON: "Add logistics.getAllAccount to permissions.openapi in the function's config.json and upload the function again from WeChat DevTools (上传并部署). It takes 10 minutes to apply."
        "请在云函数 config.json 的 permissions.openapi 中加入 logistics.getAllAccount，并用微信开发者工具重新上传并部署，10 分钟后生效。"
    WAIT_FOR_CLOUD_TOKEN: "Nothing to do: Cloud Run makes the token ready within some minutes of a new version or a changed 微信令牌. If it lasts longer, publish a new version."
        "无需处理：发布新版本或修改微信令牌后，云托管会在几分钟内准备好令牌。若持续更久，请重新发布版本。"
    CLOUD_RUN_SETTINGS: "See at cloud.weixin.qq.com/cloudrun, 服务管理 → 云调用, whether 开放接口服务 or 微信令牌 is on, and publish a new version afterwards. Cloud Run's support needs the environment ID, the appid, the time and the RequestID."
        "请在 cloud.weixin.qq.com/cloudrun 的“服务管理 → 云调用”检查开放接口服务或微信令牌是否开启，并在之后发布新版本。联系云托管客服需提供环境 ID、appid、时间和 RequestID。"
    API_SECURITY: "Switch API encryption off at mp.weixin.qq.com, 开发管理 → 开发设置 → API安全: the exporter can't sign or encrypt its calls."
        "请在 mp.weixin.qq.com 的“开发管理 → 开发设置 → API安全”关闭 API 加密：导出器不支持签名与加密调用。"
    CLOUD_RUN_LIST: "Add the path /cgi-bin/express/business/account/getall to 云调用权限 at cloud.weixin.qq.com/cloudrun, 服务管理 → 云调用, and publish a new version afterwards."
        "请在 cloud.weixin.qq.com/cloudrun 的“服务管理 → 云调用”将路径 /cgi-bin/express/business/account/getall 加入云调用权限，并在之后发布新版本。"
    // For a rejected token whose source is not known.
    NEW_TOKEN: "The exporter asks for a new one by itself. If it comes back, see where this app's token comes from."
        "导出器会自动重新获取。若反复出现，请检查该小程序的 token 来源。"
    DEPLOY_AGAIN: "Upload the cloud function again from WeChat DevTools (上传并部署), so that it gets a new token: the one that was rejected is the function's own, not the exporter's."
        "请在微信开发者工具中重新上传并部署该云函数，使其获得新的 token：被拒绝的是云函数自己的 token，不是导出器的。"
}

// The first matching row wins, so a place must come before those that include it.
table! {
    TokenCall {
        40001 Config CHECK_SECRET: "The AppSecret is wrong or belongs to another appid" "AppSecret 错误，或不属于该 appid"
        40014 | 42001 Config CHECK_SECRET: "The request for a token was refused" "获取 token 的请求被拒绝"
        48001 Permission ACCOUNT_TYPE: "This appid may not ask for tokens" "该 appid 没有获取 token 的权限"
    }
    OldTokenCall {
        45009 DailyQuota STABLE_TOKEN: "WeChat's daily quota of calls to /cgi-bin/token is used up" "/cgi-bin/token 的每日调用次数已达上限"
    }
    OpenInterface {
        41001 Config OPEN_INTERFACE: "Cloud Run's open-interface service (开放接口服务) added no access token" "云托管的开放接口服务没有附上 access_token"
        48001 Permission FROM_APPID: "The Mini Program may not call this API" "该小程序没有此接口的权限"
    }
    Function {
        41001 Config UPDATE_SDK: "The cloud function's call carried no access token" "云函数的调用未携带 access_token"
    }
    ForeignToken {
        48001 | 50001 Permission OPEN_LOGISTICS_OR_GRANT: "The Mini Program may not call this API" "该小程序没有此接口的权限"
    }
    Anywhere {
        // Tokens and credentials. How to get a token that WeChat accepts depends on its source.
        -1 | -1000 Transient TRY_AGAIN: "WeChat is busy" "微信系统繁忙"
        40001 | 40014 | 42001 Token NEW_TOKEN: "The access token is invalid, expired or not the latest one" "access_token 无效、已过期或不是最新的"
        40013 Config CHECK_SECRET: "The appid is invalid" "appid 无效"
        40125 Config CHECK_SECRET: "The AppSecret is invalid" "AppSecret 无效"
        40243 Config UNFREEZE: "The AppSecret is frozen by an administrator" "AppSecret 已被管理员冻结"
        41001 Config TOKEN_LOST: "The call arrived without an access token" "请求到达时未携带 access_token"
        40164 IpWhitelist WHITELIST: "The address that this machine calls from is not in the Mini Program's IP whitelist" "本机出口 IP 不在小程序的 IP白名单中"
        45035 IpWhitelist EITHER_WHITELIST: "The address that this machine calls from is not registered" "本机出口 IP 未登记"
        61004 IpWhitelist PLATFORM_WHITELIST: "The address that this machine calls from is not in the third-party platform's IP whitelist"
            "本机出口 IP 不在第三方平台的白名单中"
        89501 IpWhitelist ASK_ADMIN: "The address that this machine calls from waits for an administrator's confirmation" "此 IP 正在等待管理员确认"
        89503 Config ASK_ADMIN: "The call waits for an administrator's confirmation" "此次调用需要管理员确认"
        89506 | 89507 IpWhitelist REFUSED_BY_ADMIN: "An administrator refused this machine's address: it can't call for an hour, or for 24 hours after a second refusal"
            "管理员已拒绝此 IP，1 小时内不可调用，再次拒绝则 24 小时内不可调用"
        // The request.
        40002 | 40097 | 40101 | 41002 | 41004 | 43002 | 44002 | 47001 | 76003 Config REPORT: "A part of the request is wrong or missing" "请求有误或缺少内容"
        40066 Config API_URL: "WeChat has nothing at this URL" "URL 不合法"
        43003 Config API_URL: "WeChat wants the call over https" "需要 https 请求"
        48017 Config PINNED_ADDRESS: "The call reached an address of api.weixin.qq.com that is no longer in service" "请求到了 api.weixin.qq.com 已下线的 IP"
        40234 | 40235 Config API_SECURITY: "WeChat wants a signed or encrypted request, because API encryption (API安全) is on" "已开启 API安全，请求须签名或加密"
        // Quotas.
        45009 DailyQuota WAIT_FOR_MIDNIGHT: "WeChat's daily quota of calls to this API is used up" "该接口的每日调用次数已达上限"
        45009 Rate WAIT_A_MINUTE: "Too many calls to this API within minutes" "短时间内调用该接口过于频繁"
        45011 Rate WAIT_A_MINUTE: "Too many calls to this API in this minute" "调用过于频繁，已达分钟上限"
        // Permissions.
        48001 | 50001 Permission OPEN_LOGISTICS: "The Mini Program may not call this API" "该小程序没有此接口的权限"
        48004 Permission NOTICES: "This API is banned for the Mini Program" "该小程序的此接口已被封禁"
        50002 Permission NOTICES: "The Mini Program is restricted, most often after a violation" "该小程序受限，可能因违规被处罚"
        50004 Permission NOTICES: "The Mini Program may not use tokens" "该小程序被禁止使用 token 接口"
        50007 Permission NOTICES: "The Mini Program's account is frozen" "该小程序账号已被冻结"
        // Third-party platforms.
        42002 | 42007 | 61023 Config AUTHORISE_AGAIN: "The merchant's authorisation has ended" "商家的授权已失效"
        61003 | 61007 | 61016 | 61017 Permission AUTHORISE_AGAIN: "The merchant has not authorised the platform, or not for this API" "商家未授权给该第三方平台，或未授权此接口"
        61005 | 61006 | 61011 Config PLATFORM: "The third-party platform or its ticket is invalid" "第三方平台或其 component_verify_ticket 无效"
        61015 Config AUTHORIZER_TOKEN: "The token is the platform's own and not the merchant's" "token 是第三方平台自己的，不是商家的"
        61024 Config AUTHORIZER_TOKEN: "The appid is a third-party platform's and not a Mini Program's" "该 appid 属于第三方平台，不是小程序"
        // WeChat's own quota figures for an API.
        76021 | 76022 Config NO_API_QUOTA: "WeChat has no figures for this API with this kind of token" "当前 token 类型没有该接口的额度数据"
        // Accounts.
        9_300_501 Transient ASK_OUTLET: "The courier's own system failed" "快递公司系统返回失败"
        9_300_525 | 9_300_530 | 9_300_532 Config CHECK_ACCOUNT: "The courier account is unknown, not bound or under review" "该快递账号不存在、未绑定或正在审核"
        9_300_529 Config CHECK_ACCOUNT: "The courier account is bound already" "该快递账号已绑定"
        9_300_531 Config CHECK_ACCOUNT: "The courier account or its password is wrong" "快递账号或密码错误"
        // Cloud Run.
        85105 | 85107 Permission CLOUD_RUN_LIST: "The API's path is not in Cloud Run's list of 云调用" "接口路径不在云托管的云调用列表中"
        85112 Config CLOUD_RUN_SETTINGS: "Cloud Run's gateway could not pass the call on" "云托管网关转发失败"
        85113 Transient WAIT_FOR_CLOUD_TOKEN: "Cloud Run's token (微信令牌) is not ready yet" "云托管的微信令牌尚未就绪"
        // The cloud call. Of the -601xxx codes, only two are system errors.
        85088 Config OPEN_CLOUD: "The Mini Program has no cloud development (云开发)" "该小程序未开通云开发"
        -501_001 | -504_001 | -601_001 | -601_003 | -604_103 Transient TRY_AGAIN: "The cloud had a system error" "云端系统错误"
        -601_002 Config OPEN_CLOUD: "A parameter of the cloud call is wrong" "云调用参数错误"
        -601_004 Permission OPEN_CLOUD: "The Mini Program may not use this cloud environment" "该小程序无权使用此云环境"
        -601_034 Permission OPEN_CLOUD: "The Mini Program has neither cloud development (云开发) nor Cloud Run (云托管)" "该小程序未开通云开发或云托管"
        -501_000 | -501_009 Config UPLOAD_FUNCTION: "The cloud function or its environment doesn't exist" "云函数或云环境不存在"
        -501_002 | -604_102 Timeout TRY_AGAIN: "The cloud did not answer in time" "云端响应超时"
        -501_003 | -501_015 | -501_018 Config CLOUD_QUOTA: "The cloud environment's quota is used up, or its resources don't allow the request" "超出云环境配额，或云环境资源异常"
        -501_004 Rate CLOUD_QUOTA: "Too many requests to the cloud environment at one time" "请求并发数超出云环境配额"
        -501_005 | -501_006 | -501_007 | -501_008 Config CHECK_ENV: "The cloud environment refused the request" "云环境拒绝了请求"
        -501_019 Permission CLOUD_PERMISSION: "The cloud environment refused the request as unauthorised" "云环境未授权"
        -404_011 | -504_002 Config FUNCTION_LOG: "The cloud function failed while it ran" "云函数执行失败"
        -504_002 | -504_003 Timeout FUNCTION_TIME: "The cloud function ran into its time limit" "云函数执行超时"
        -604_001 Config RETURN_LESS: "The cloud function's result is larger than 1 MB" "云函数返回结果超过 1 MB"
        -604_100 Config UPDATE_SDK: "The cloud call doesn't know this API" "云调用找不到该 API"
        -604_101 Permission CONFIG_JSON: "The cloud function has no permission for this API" "云函数没有调用该 API 的权限"
        -604_104 Config FUNCTION_LOG: "The cloud function was called from where the cloud call is not allowed" "云调用的触发来源不合法"
    }
}
