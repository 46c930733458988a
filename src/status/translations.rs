//! The page's languages, and every text of the page in both, side by side.

use super::state::{AccountState, AppHealth};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    /// In simplified characters.
    Chinese,
}

impl Language {
    /// What the page's own switch asks for (`?lang=zh`), else the first of both that the browser names: browsers name
    /// the preferred one first.
    pub(crate) fn choose(query: Option<&str>, accept_language: Option<&str>) -> Self {
        let mut parameters = query.unwrap_or_default().split('&');
        let mut accepted = accept_language.unwrap_or_default().split(',');
        parameters
            .find_map(|parameter| Self::of_tag(parameter.strip_prefix("lang=")?))
            .or_else(|| accepted.find_map(Self::of_tag))
            .unwrap_or(Self::English)
    }

    /// Of `zh-CN;q=0.9` the primary language.
    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', ';']).next()?.trim();
        match primary.to_ascii_lowercase().as_str() {
            "zh" => Some(Self::Chinese),
            "en" => Some(Self::English),
            _ => None,
        }
    }

    /// BCP 47.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }
}

/// `template` with values in the places of their names in braces.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    text
}

macro_rules! texts {
    ($($key:ident: $english:literal, $chinese:literal;)+) => {
        /// The texts of one language. `{name}` stands for a value; see [`fill`].
        #[derive(Debug)]
        pub(crate) struct Texts {
            pub(crate) language: Language,
            $(pub(crate) $key: &'static str,)+
        }

        const ENGLISH: Texts = Texts { language: Language::English, $($key: $english,)+ };
        const CHINESE: Texts = Texts { language: Language::Chinese, $($key: $chinese,)+ };

        #[cfg(test)]
        const PAIRS: &[(&str, &str)] = &[$(($english, $chinese),)+];
    };
}

texts! {
    title: "WeChat waybill balances", "微信电子面单余额";
    skip: "Skip to the accounts", "跳到账号列表";
    language_switch: "Language", "语言";
    all_apps: "All apps", "全部小程序";
    as_of: "As of {time} China time. This page makes no calls to WeChat: it shows what the last scrape fetched.",
        "截至北京时间 {time}。打开本页不会调用微信接口，只显示最近一次抓取的结果。";

    verdict_ok: "All apps are healthy.", "所有小程序均正常。";
    verdict_info: "No urgent problems.", "没有紧急问题。";
    verdict_warning: "Some problems need attention soon.", "有问题需要尽快处理。";
    verdict_critical: "Some problems need attention now.", "有问题需要立即处理。";
    verdict_unfetched: "No data yet.", "暂无数据。";

    apps: "Apps", "小程序";
    apps_shown: "The worst {shown} of {all} apps are listed. The page of any other app is at ./?appid=APPID.",
        "仅列出问题最严重的 {shown} 个小程序（共 {all} 个）。其余小程序的页面为 ./?appid=APPID。";
    sections_shown: "The worst {shown} of them are shown below.", "下面显示其中问题最严重的 {shown} 个。";
    app: "App", "小程序";
    health: "Health", "状态";
    accounts: "Accounts", "账号数";
    in_trouble: "In trouble", "有问题";
    last_fetched: "Last fetched", "最近读取";
    calls_today: "Calls today", "今日调用";

    up: "Up", "正常";
    never_fetched: "Not fetched yet", "尚未读取";
    not_scraped: "Not scraped", "未被抓取";
    daily_limit: "Daily limit reached", "已达每日上限";
    token_rejected: "Token rejected", "令牌被拒绝";
    failing: "Failing", "读取失败";

    never_fetched_what: "This app has not been fetched yet.", "该小程序尚未读取过。";
    never_fetched_fix: "The exporter fetches only when it is scraped. Add it to Prometheus, or open {path} once to fetch now.",
        "导出器只在被抓取时读取。请将其加入 Prometheus，或打开一次 {path} 立即读取。";
    not_scraped_what: "The exporter has not been scraped for {span}.", "导出器已有 {span}没有被抓取。";
    not_scraped_fix: "The numbers below are old and no longer exported. Check in Prometheus that the target is up and still configured.",
        "下面的数字已过期，不再导出。请在 Prometheus 中检查该目标是否正常、是否仍在配置中。";
    daily_limit_what: "The exporter's own daily limit of calls is used up.", "导出器自身的每日调用上限已用完。";
    daily_limit_fix: "Calls resume at midnight China time; until then the last snapshot is served. Scrape less often, or raise --wechat.daily-limit.",
        "北京时间零点后恢复调用，在此之前使用最近一次的结果。请降低抓取频率，或调高 --wechat.daily-limit。";
    token_rejected_what: "WeChat rejected the access token in {fetches} fetches in a row. It is renewed less often now, so that fetches may fail.",
        "微信已连续 {fetches} 次拒绝访问令牌。导出器会降低更新令牌的频率，因此读取可能失败。";
    old_snapshot: "The accounts below were fetched {age}.", "下面的账号读取于 {age}。";
    expired_snapshot: "The accounts below were fetched {age}. They are too old to be exported.",
        "下面的账号读取于 {age}，已过期，不再导出。";
    how_to_fix: "How to fix: ", "处理办法：";
    details: "Details", "详情";
    failed_at: "Failed", "失败时间";
    reason: "Reason", "原因";
    error: "Error", "错误";
    next_attempt: "Next attempt", "下次尝试";
    next_attempt_after: "first scrape after {time}", "{time} 之后的第一次抓取";
    next_attempt_now: "next scrape", "下一次抓取";

    never: "never", "从未";
    calls_left: "{used} used, {left} left", "已用 {used}，剩余 {left}";
    calls_used: "{used} used, no limit", "已用 {used}，无上限";
    host: "API host", "接口主机";
    metrics_of_app: "Metrics", "指标";
    no_accounts: "WeChat lists no courier accounts for this app. Bind one in the Mini Program's logistics assistant (物流助手).",
        "微信没有列出该小程序的快递账号。请在小程序的“物流助手”中绑定。";
    rows_shown: "The worst {shown} of {all} accounts are shown.", "仅显示问题最严重的 {shown} 个账号（共 {all} 个）。";
    more_accounts: "More accounts of this app", "该小程序的更多账号";
    dropped: "Rows left out: {duplicate} duplicate, {limit} over a limit, {invalid} invalid.",
        "未计入的行：重复 {duplicate}，超出限制 {limit}，无效 {invalid}。";

    state: "State", "状态";
    courier: "Courier", "快递公司";
    account: "Account", "账号";
    balance: "Waybills left", "面单余额";
    lasts: "Lasts", "预计可用";
    binding: "Binding", "绑定状态";
    balance_time: "Balance as of", "余额时间";
    not_known: "not known", "未知";
    monthly_balance: "monthly", "月结";
    remark: "Reason given: ", "失败原因：";

    bound: "Bound", "已绑定";
    under_review: "Under review", "审核中";
    binding_failed: "Binding failed", "绑定失败";
    unbound: "Unbound", "已解绑";
    unknown_status: "Unknown", "未知状态";
    status_code: "Unknown ({code})", "未知（{code}）";
    status_not_sent: "Not sent", "未返回";

    key: "What the states mean", "状态说明";
    empty: "Empty", "已用完";
    empty_meaning: "No waybills are left, so the shop can't ship with this account. Buy waybills from the courier's outlet.",
        "没有可用面单，该账号无法发货。请联系快递网点充值。";
    running_out: "Under a day", "不足一天";
    running_out_meaning: "At the average rate of use the balance lasts less than a day. Call the outlet before it closes.",
        "按平均用量不足一天。请在网点下班前联系充值。";
    binding_failed_meaning: "The courier refused the binding. Check the customer code and password with the outlet and bind again.",
        "快递公司拒绝了绑定。请与网点核对客户编码和密码后重新绑定。";
    low: "Under 3 days", "不足三天";
    low_meaning: "At the average rate of use the balance lasts less than three days.", "按平均用量不足三天。";
    few: "Few left", "余量较少";
    few_meaning: "Fewer than 100 waybills are left, and the rate of use is not known yet.", "余额少于 100 张，用量尚不清楚。";
    unknown_courier: "Unknown courier", "未知快递公司";
    unknown_courier_meaning: "Fewer than 100 waybills or none are left, and the exporter doesn't know whether this courier sells them in advance. Compare the id with WeChat's list of couriers, or set its network under “couriers” in the configuration.",
        "面单少于 100 张或没有面单，且无法判断该快递公司是否预售面单。请与微信的快递公司列表核对编号，或在配置的“couriers”中说明其类型。";
    review_stuck: "Review stuck", "审核过久";
    review_stuck_meaning: "The binding has been under review for more than three days. Ask the courier's outlet; WeChat doesn't.",
        "审核已超过三天。请主动联系快递网点，微信不会催办。";
    unknown_status_meaning: "WeChat sent a binding status that its documentation doesn't name, or none.",
        "微信返回了文档中没有的绑定状态，或没有返回。";
    old_balance: "Old balance", "余额过期";
    old_balance_meaning: "WeChat has not refreshed the balance for more than a day. The true balance may be lower.",
        "微信超过一天没有更新余额，实际余额可能更低。";
    under_review_meaning: "The courier has not confirmed the binding yet.", "快递公司尚未确认绑定。";
    unbound_meaning: "The account was unbound and can't be used to ship.", "账号已解绑，不能用于发货。";
    ok: "OK", "正常";
    ok_meaning: "The account is bound and has no known problem.", "已绑定，未发现问题。";
    monthly: "Monthly", "月结";
    monthly_meaning: "The courier runs its own outlets and is paid by the month, so no waybills can run out.",
        "直营快递按月结算，不存在面单用完的问题。";
    lasts_meaning: "“Lasts” is an estimate from the average use since the exporter started. Top-ups don't count.",
        "“预计可用”按导出器启动以来的平均用量估算，充值不计入。";

    links: "Links", "链接";
    metrics: "Metrics", "指标";
    service_discovery: "Service discovery", "服务发现";
    healthy: "Health", "健康检查";
    ready: "Readiness", "就绪检查";
    api_documentation: "WeChat's API documentation", "微信接口文档";
    version: "Version {version}", "版本 {version}";

    just_now: "just now", "刚刚";
    ago: "{span} ago", "{span}前";
    seconds: "seconds", "秒";
    minutes: "minutes", "分钟";
    hours: "hours", "小时";
    days: "days", "天";
}

impl Texts {
    pub(crate) const fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &ENGLISH,
            Language::Chinese => &CHINESE,
        }
    }

    pub(crate) fn of_health(&self, health: AppHealth) -> &'static str {
        match health {
            AppHealth::Failing => self.failing,
            AppHealth::DailyLimitReached => self.daily_limit,
            AppHealth::TokenRejected => self.token_rejected,
            AppHealth::NotScraped => self.not_scraped,
            AppHealth::NeverFetched => self.never_fetched,
            AppHealth::Up => self.up,
        }
    }

    /// The state's name, and what it means for the shop.
    pub(crate) fn of_state(&self, state: AccountState) -> (&'static str, &'static str) {
        match state {
            AccountState::Empty => (self.empty, self.empty_meaning),
            AccountState::RunningOut => (self.running_out, self.running_out_meaning),
            AccountState::BindingFailed => (self.binding_failed, self.binding_failed_meaning),
            AccountState::Low => (self.low, self.low_meaning),
            AccountState::Few => (self.few, self.few_meaning),
            AccountState::UnknownCourier => (self.unknown_courier, self.unknown_courier_meaning),
            AccountState::ReviewStuck => (self.review_stuck, self.review_stuck_meaning),
            AccountState::UnknownStatus => (self.unknown_status, self.unknown_status_meaning),
            AccountState::OldBalance => (self.old_balance, self.old_balance_meaning),
            AccountState::UnderReview => (self.under_review, self.under_review_meaning),
            AccountState::Unbound => (self.unbound, self.unbound_meaning),
            AccountState::Ok => (self.ok, self.ok_meaning),
            AccountState::Monthly => (self.monthly, self.monthly_meaning),
        }
    }
}

/// Fails where a Chinese text has a Western punctuation mark. One between Latin letters belongs to a URL, a flag or a
/// file name.
#[cfg(test)]
pub(crate) fn assert_chinese_punctuation(text: &str) {
    let is_chinese =
        |c: char| matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{ff00}'..='\u{ffef}' | '“' | '”');
    for (at, mark) in text.match_indices([',', '.', ':', ';', '?', '!', '(', ')', '"', '\'', '/']) {
        let (before, after) = (&text[..at], &text[at + 1..]);
        // A path such as `/cgi-bin/token` may stand beside Chinese.
        if "./".contains(mark) && after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        {
            continue;
        }
        let neighbours = [
            before.trim_end().chars().next_back(),
            after.trim_start().chars().next(),
        ];
        let beside_chinese = neighbours.into_iter().flatten().any(is_chinese);
        let ends_the_text = after.is_empty() && ",.:;?!".contains(mark);
        assert!(!beside_chinese && !ends_the_text, "{mark} in: {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::Language::{Chinese, English};
    use super::*;

    #[test]
    fn browser_gets_the_known_language_that_it_names_first() {
        for (header, language) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", Chinese),
            ("en-US,en;q=0.9,zh-CN;q=0.8", English),
            ("de-DE, de;q=0.9, ZH-TW;q=0.7, en;q=0.3", Chinese),
            ("", English),
            ("*, zho, ;,;=", English),
        ] {
            assert_eq!(Language::choose(None, Some(header)), language, "{header}");
        }
    }

    #[test]
    fn switch_on_the_page_outweighs_the_browser() {
        let browser = Some("zh-CN,zh");
        assert_eq!(Language::choose(Some("lang=en"), browser), English);
        assert_eq!(Language::choose(Some("appid=wx1&lang=zh"), None), Chinese);
        assert_eq!(Language::choose(Some("lang=tlh"), browser), Chinese);
    }

    #[test]
    fn both_languages_have_the_same_values_and_end_alike() {
        let names = |template: &'static str| {
            let parts = template.split(['{', '}']).skip(1).step_by(2);
            parts.collect::<std::collections::BTreeSet<_>>()
        };
        for (english, chinese) in PAIRS {
            assert_eq!(names(english), names(chinese), "{chinese}");
            let is_sentence = (english.ends_with('.'), chinese.ends_with('。'));
            assert_eq!(is_sentence.0, is_sentence.1, "{chinese}");
        }
    }

    #[test]
    fn chinese_texts_have_chinese_punctuation() {
        for (_, chinese) in PAIRS {
            assert_chinese_punctuation(chinese);
        }
    }
}
