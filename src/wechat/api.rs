//! The calls that can be sent to WeChat.

use super::labels::labels;

labels! {
    /// A call to WeChat. Its label is the last part of the API's own path.
    Api {
        /// `GET /cgi-bin/express/business/account/getall`: the account list.
        AccountGetall = "account_getall",
        /// `POST /tcb/invokecloudfunction`: the account list through a cloud function.
        InvokeCloudFunction = "invoke_cloud_function",
        /// `POST /cgi-bin/stable_token`: a token that nobody else loses.
        StableToken = "stable_token",
        /// `GET /cgi-bin/token`: a token that replaces everybody else's.
        Token = "token",
        /// `GET /cgi-bin/express/business/delivery/getall`: the couriers and their names.
        DeliveryGetall = "delivery_getall",
        /// `POST /cgi-bin/express/business/quota/get`: the live balance of one account.
        QuotaGet = "quota_get",
        /// `POST /cgi-bin/openapi/quota/get`: WeChat's own daily figures of one API.
        ApiQuotaGet = "api_quota_get",
    }
}
