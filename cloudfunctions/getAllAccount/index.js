// Returns the accounts bound in 物流助手, for wechat-logistics-exporter to read over /tcb/invokecloudfunction.
'use strict'

const cloud = require('wx-server-sdk')

cloud.init({ env: cloud.DYNAMIC_CURRENT_ENV })

/**
 * The reply of logistics.getAllAccount as wx-server-sdk gives it, or `{ errCode, errMsg }` when the call failed.
 *
 * A failure must be spelled out: an Error that is returned as it is turns into `{}` on the way, which looks like a
 * reply without accounts.
 */
exports.main = async () => {
  try {
    return await cloud.openapi.logistics.getAllAccount({})
  } catch (error) {
    return failure(error)
  }
}

function failure (error) {
  // 0 would mean success, so nothing but another integer is taken for an errCode.
  const code = error?.errCode ?? error?.errcode
  const errCode = Number.isInteger(code) && code !== 0 ? code : -1
  const texts = [error?.errMsg, error?.errmsg, error?.message, error]
  const errMsg = texts.find(text => typeof text === 'string' && text !== '')
  return { errCode, errMsg: errMsg ?? 'an error without a message' }
}
