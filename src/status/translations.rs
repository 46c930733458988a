//! Every phrase of the page, in both languages side by side. `{name}` stands for a value.

use super::Language;
use super::standing::Standing;

macro_rules! texts {
    ($($key:ident: $english:literal, $chinese:literal;)+) => {
        /// The phrases of one language.
        #[derive(Debug)]
        pub(super) struct Texts {
            pub(super) language: Language,
            $(pub(super) $key: &'static str,)+
        }

        const ENGLISH: Texts = Texts { language: Language::English, $($key: $english,)+ };
        const CHINESE: Texts = Texts { language: Language::Chinese, $($key: $chinese,)+ };

        #[cfg(test)]
        const PAIRS: &[(&str, &str, &str)] = &[$((stringify!($key), $english, $chinese),)+];
    };
}

texts! {
    title: "WeChat waybill balances", "微信电子面单余额";
    skip: "Skip to the accounts", "跳到账号列表";
    language_switch: "Language", "语言";
    as_of: "As of {time}, China time. Opening this page makes no call to WeChat; it shows what the last scrape read.",
        "截至北京时间 {time}。打开本页不会调用微信接口，显示的是最近一次抓取读到的内容。";

    // The verdict.
    verdict_fine: "All is well", "一切正常";
    verdict_note: "Nothing urgent", "没有紧急事项";
    verdict_warning: "Needs a look soon", "需要尽快关注";
    verdict_critical: "Needs you now", "需要立即处理";
    verdict_unread: "Nothing read yet", "尚未读取";
    no_apps: "No app is configured.", "没有配置任何小程序。";
    apps_critical_one: "{n} app can't be read", "{n} 个小程序无法读取";
    apps_critical_many: "{n} apps can't be read", "{n} 个小程序无法读取";
    apps_warning_one: "{n} app is no longer read", "{n} 个小程序已停止读取";
    apps_warning_many: "{n} apps are no longer read", "{n} 个小程序已停止读取";
    apps_note_one: "{n} app was never read", "{n} 个小程序还没有读取过";
    apps_note_many: "{n} apps were never read", "{n} 个小程序还没有读取过";
    accounts_critical_one: "{n} account is empty or soon will be", "{n} 个账号已用完或即将用完";
    accounts_critical_many: "{n} accounts are empty or soon will be", "{n} 个账号已用完或即将用完";
    accounts_warning_one: "{n} account needs a look", "{n} 个账号需要关注";
    accounts_warning_many: "{n} accounts need a look", "{n} 个账号需要关注";
    counted: "Accounts by state", "各状态的账号数";
    accounts_one: "{n} account", "{n} 个账号";
    accounts_many: "{n} accounts", "{n} 个账号";
    apps_one: "{n} app", "{n} 个小程序";
    apps_many: "{n} apps", "{n} 个小程序";

    // The table of apps.
    apps_heading: "Apps", "小程序";
    apps_caption: "Apps, worst first", "小程序，问题最严重的在前";
    column_app: "App", "小程序";
    column_state: "State", "状态";
    column_accounts: "Accounts", "账号数";
    column_trouble: "In trouble", "有问题";
    column_read: "Last read", "最近读取";
    column_calls: "Calls today", "今日调用";

    sections_shown: "Details follow of the worst {shown} apps; the others link to their metrics.",
        "下面只列出问题最严重的 {shown} 个小程序的详情，其余链接到各自的指标。";

    // How an app stands.
    app_up: "Up", "正常";
    app_reading: "Reading", "读取中";
    app_never_read: "Never read", "从未读取";
    app_outdated: "No longer read", "已停止读取";
    app_daily_limit: "Daily limit reached", "达到每日上限";
    app_failing: "Failing", "读取失败";
    app_held: "Failing, paused", "读取失败，已暂停";

    never_read_what: "No scrape has read this app yet.", "还没有任何抓取读取过这个小程序。";
    never_read_cure: "The exporter reads when it is scraped and never by itself. Add it to Prometheus, or open {path} once: that reads now.",
        "导出器只在被抓取时读取，不会自行读取。请把它加入 Prometheus，或打开一次 {path}，会立即读取。";
    reading_what: "The first reading is under way.", "正在进行首次读取。";
    reading_cure: "Reload this page in a few seconds.", "请几秒后刷新本页。";
    outdated_what: "No scrape has come for {span}.", "已有 {span} 没有抓取。";
    outdated_cure: "The figures below are old, and the metrics page leaves them out. Look at the target in Prometheus: is it up, and is it still configured?",
        "下面的数字已经过期，指标页不再输出。请在 Prometheus 中查看该目标：是否正常、是否仍在配置中。";
    daily_limit_what: "The exporter's own limit of calls per day is used up.", "导出器自身的每日调用上限已用完。";
    daily_limit_cure: "Calls go on at midnight, China time; until then the last reading stays. Scrape less often, or raise --wechat.daily-limit.",
        "北京时间零点后恢复调用，在此之前保留最近一次的读数。请降低抓取频率，或调高 --wechat.daily-limit。";
    old_reading: "The accounts below are from the last good reading, {age}.", "下面的账号来自最近一次成功的读取（{age}）。";
    left_out_reading: "The accounts below are from the last good reading, {age}: too old for the metrics page, which leaves them out.",
        "下面的账号来自最近一次成功的读取（{age}），已过期，指标页不再输出。";
    what_to_do: "What to do: ", "处理办法：";
    details: "Details", "详情";
    failed_when: "Failed", "失败时间";
    failed_call: "Call", "调用";
    failed_reason: "Reason", "原因";
    failed_text: "Message", "消息";
    next_try: "Next try", "下次尝试";
    next_try_value: "with the first scrape after {time}", "{time} 之后的第一次抓取";
    next_try_scrape: "with the next scrape", "下一次抓取时";

    // Facts of an app.
    fact_read: "Last read", "最近读取";
    fact_never: "never", "从未";
    fact_calls: "Calls today", "今日调用";
    fact_calls_left: "{used} used, {left} left", "已用 {used}，剩余 {left}";
    fact_calls_used: "{used} used, no limit", "已用 {used}，无上限";
    fact_api_quota: "WeChat's quota", "微信接口额度";
    fact_api_quota_value: "{used} of {limit} used", "已用 {used} / {limit}";
    fact_host: "Host", "接口主机";
    fact_accounts: "Accounts", "账号数";
    fact_probe: "Metrics of this app", "该小程序的指标";
    dropped: "Rows left out: {duplicate} duplicate, {limit} over a limit, {invalid} invalid.",
        "未计入的行：重复 {duplicate}，超出限制 {limit}，无效 {invalid}。";

    // The table of accounts.
    accounts_caption: "Courier accounts, worst first", "快递账号，问题最严重的在前";
    column_courier: "Courier", "快递公司";
    column_account: "Account", "账号";
    column_balance: "Waybills left", "面单余额";
    column_days_left: "Lasts", "预计可用";
    column_status: "Binding", "绑定状态";
    column_balance_age: "Balance as of", "余额时间";
    no_value: "not known", "未知";
    monthly: "monthly", "月结/直营";
    no_accounts: "WeChat lists no courier account for this app. Bind one in the Mini Program's logistics assistant (物流助手).",
        "微信没有列出该小程序的快递账号。请在小程序后台的“物流助手”中绑定。";
    rows_shown: "The worst {shown} of {all} accounts are shown; the metrics have them all.",
        "仅显示问题最严重的 {shown} 个账号（共 {all} 个），指标页包含全部。";
    remark: "Reason given: ", "失败原因：";

    // Binding status, as the API's documentation names it.
    status_bound: "Bound", "已绑定";
    status_under_review: "Under review", "审核中";
    status_failed: "Failed", "绑定失败";
    status_unbound: "Unbound", "已解绑";
    status_unknown: "Unknown ({code})", "未知（{code}）";
    status_not_sent: "Not sent", "未返回";

    // How an account stands, and what that means.
    empty: "Empty", "已用完";
    empty_means: "No waybill is left: the shop can't ship with this account. Buy waybills from the courier's outlet.",
        "没有可用面单，该账号无法发货。请联系快递网点充值。";
    running_out: "Under a day", "不足一天";
    running_out_means: "At the pace seen so far the balance lasts less than a day. Call the outlet before it closes.",
        "按目前的消耗速度不足一天。请在网点下班前联系充值。";
    binding_failed: "Binding failed", "绑定失败";
    binding_failed_means: "The courier refused the binding. Check customer code and password with the outlet and bind again.",
        "快递公司拒绝了绑定。请与网点核对客户编码和密码后重新绑定。";
    low: "Under 3 days", "不足三天";
    low_means: "At the pace seen so far the balance lasts less than three days.", "按目前的消耗速度不足三天。";
    few: "Few left", "余量较少";
    few_means: "Fewer than 100 waybills are left, and how fast they go is not known yet.",
        "余额少于 100 张，消耗速度尚不清楚。";
    review_stuck: "Review stuck", "审核过久";
    review_stuck_means: "The binding has been under review for more than three days. Ask the courier's outlet; WeChat doesn't.",
        "审核已超过三天。请主动联系快递网点，微信不会催办。";
    unknown_status: "Unknown", "状态未知";
    unknown_status_means: "WeChat sent a binding status that its documentation doesn't name, or none.",
        "微信返回了文档中没有的绑定状态，或没有返回。";
    old_balance: "Old balance", "余额过期";
    old_balance_means: "WeChat has not refreshed the balance for more than a day; the true one may be lower.",
        "微信超过一天没有更新余额，实际余额可能更低。";
    under_review: "Under review", "审核中";
    under_review_means: "The courier has not yet confirmed the binding.", "快递公司尚未确认绑定。";
    unbound: "Unbound", "已解绑";
    unbound_means: "The account was unbound and can't be used to ship.", "账号已解绑，不能用于发货。";
    fine: "Fine", "正常";
    fine_means: "Bound, and nothing known against it.", "已绑定，未发现问题。";
    monthly_mark: "Monthly", "月结";
    monthly_means: "The courier runs its own outlets and is paid by the month: there is no stock of waybills to run out.",
        "直营快递按月结算，没有会用完的面单库存。";
    key: "What the states mean", "状态说明";
    days_left_known: "“Lasts” is an estimate from the falls of each balance seen since the exporter's start, {span} ago. Top-ups don't count. A figure appears with the second fall, {shortest} after the first at the earliest.",
        "“预计可用”根据导出器启动（{span}前）以来观察到的余额下降估算，充值不计入；出现第二次下降且距第一次满 {shortest}后才有数值。";

    // The foot.
    links: "Links", "链接";
    link_metrics: "Metrics", "指标";
    link_sd: "Service discovery", "服务发现";
    link_healthy: "Health", "健康检查";
    link_ready: "Readiness", "就绪检查";
    link_project: "Project", "项目主页";
    link_api: "WeChat's API documentation", "微信接口文档";
    version: "Version {version}", "版本 {version}";

    // Times and amounts.
    just_now: "just now", "刚刚";
    ago: "{span} ago", "{span}前";
    ahead: "in {span}", "{span}后";
    second: "second", "秒";
    seconds: "seconds", "秒";
    minute: "minute", "分钟";
    minutes: "minutes", "分钟";
    hour: "hour", "小时";
    hours: "hours", "小时";
    day: "day", "天";
    days: "days", "天";
}

impl Texts {
    pub(super) const fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &ENGLISH,
            Language::Chinese => &CHINESE,
        }
    }

    /// How an account stands, in a word or two.
    pub(super) fn name_of(&self, standing: Standing) -> &'static str {
        match standing {
            Standing::Empty => self.empty,
            Standing::RunningOut => self.running_out,
            Standing::BindingFailed => self.binding_failed,
            Standing::Low => self.low,
            Standing::Few => self.few,
            Standing::ReviewStuck => self.review_stuck,
            Standing::UnknownStatus => self.unknown_status,
            Standing::OldBalance => self.old_balance,
            Standing::UnderReview => self.under_review,
            Standing::Unbound => self.unbound,
            Standing::Fine => self.fine,
            Standing::Monthly => self.monthly_mark,
        }
    }

    /// What that means for the shop, and what to do.
    pub(super) fn meaning_of(&self, standing: Standing) -> &'static str {
        match standing {
            Standing::Empty => self.empty_means,
            Standing::RunningOut => self.running_out_means,
            Standing::BindingFailed => self.binding_failed_means,
            Standing::Low => self.low_means,
            Standing::Few => self.few_means,
            Standing::ReviewStuck => self.review_stuck_means,
            Standing::UnknownStatus => self.unknown_status_means,
            Standing::OldBalance => self.old_balance_means,
            Standing::UnderReview => self.under_review_means,
            Standing::Unbound => self.unbound_means,
            Standing::Fine => self.fine_means,
            Standing::Monthly => self.monthly_means,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(template: &str) -> Vec<&str> {
        let mut names: Vec<_> = template
            .split('{')
            .skip(1)
            .filter_map(|rest| Some(rest.split_once('}')?.0))
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn both_languages_speak_of_the_same_values() {
        for (key, english, chinese) in PAIRS {
            assert_eq!(names(english), names(chinese), "{key}");
        }
    }

    #[test]
    fn every_phrase_is_there_in_both_languages() {
        for (key, english, chinese) in PAIRS {
            assert!(!english.is_empty(), "{key}");
            let is_chinese = chinese
                .chars()
                .any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
            assert!(is_chinese, "{key}");
        }
    }
}
