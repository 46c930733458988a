// Stands in for wx-server-sdk 4.0.2, as far as the cloud function can see it: a reply comes without errcode and errmsg,
// in camelCase and with errMsg and errCode added; a refusal is thrown as an error with its own errCode and errMsg.
// A test sets `answer` to what WeChat sends, or to a function that is called instead.
'use strict'

const API = 'openapi.logistics.getAllAccount'

class CloudSDKError extends Error {
  constructor ({ errCode, errMsg }) {
    super(errMsg)
    this.errCode = errCode
    this.errMsg = errMsg
  }
}

const sdk = {
  DYNAMIC_CURRENT_ENV: Symbol('DYNAMIC_CURRENT_ENV'),
  initialised: undefined,
  calls: [],
  answer: undefined,

  init (options) {
    sdk.initialised = options
  },

  openapi: {
    logistics: {
      async getAllAccount (parameters) {
        sdk.calls.push(parameters)
        if (typeof sdk.answer === 'function') {
          return sdk.answer()
        }
        if (typeof sdk.answer === 'string') {
          return { result: sdk.answer, errMsg: `${API}:ok`, errCode: 0 }
        }
        const { errcode, errmsg, ...reply } = sdk.answer
        if (errcode) {
          throw new CloudSDKError({ errCode: errcode, errMsg: `${API}:fail ${errmsg}` })
        }
        return { ...camelCase(reply), errMsg: `${API}:ok`, errCode: 0 }
      }
    }
  }
}

function camelCase (value) {
  if (Array.isArray(value)) {
    return value.map(camelCase)
  }
  if (value === null || typeof value !== 'object') {
    return value
  }
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [
    key.replace(/(?<=.)_(.)/g, (_, letter) => letter.toUpperCase()),
    camelCase(inner)
  ]))
}

module.exports = sdk
