// What the shipped cloud function returns. Run from anywhere:
//
//     node --test tests/cloudfunction/
//
// Each result is kept under tests/data/cloud-function/, where the exporter's own tests read it as `resp_data`.
// UPDATE_FIXTURES=1 writes the files anew; without it a file that differs fails the test.
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const Module = require('node:module')
const path = require('node:path')
const { test } = require('node:test')

const ROOT = path.join(__dirname, '..', '..')
const FUNCTION = path.join(ROOT, 'cloudfunctions', 'getAllAccount')
const FIXTURES = path.join(ROOT, 'tests', 'data', 'cloud-function')

const resolve = Module._resolveFilename
Module._resolveFilename = function (request, ...rest) {
  return request === 'wx-server-sdk'
    ? path.join(__dirname, 'wx-server-sdk.js')
    : resolve.call(this, request, ...rest)
}

const sdk = require('./wx-server-sdk.js')
const { main } = require(FUNCTION)

// The result as it travels: the cloud turns what the function returns into JSON.
async function result (answer) {
  sdk.answer = answer
  return JSON.stringify(await main({}, {}))
}

async function fixture (name, answer) {
  const json = await result(answer)
  const file = path.join(FIXTURES, `${name}.json`)
  if (process.env.UPDATE_FIXTURES === '1') {
    fs.mkdirSync(FIXTURES, { recursive: true })
    fs.writeFileSync(file, `${json}\n`)
  }
  const kept = fs.readFileSync(file, 'utf8')
  assert.equal(kept, `${json}\n`, `${file} is not what index.js returns; UPDATE_FIXTURES=1 writes it`)
  return JSON.parse(json)
}

function read (name) {
  return JSON.parse(fs.readFileSync(path.join(FUNCTION, name), 'utf8'))
}

// The shape of a reply of 2020 (forum thread 000c2a7e040e50dfa7b9aac3b5b000) with other names, and a direct courier's
// account beside it, for which nobody has seen a balance.
const REPLY = {
  count: 2,
  list: [
    {
      biz_id: '四川成都某某公司_示例商户',
      delivery_id: 'STO',
      create_time: 1578463586,
      update_time: 1578552332,
      status_code: 0,
      alias: '四川成都某某公司_示例商户',
      remark_wrong_msg: '',
      remark_content: '',
      quota_num: 2,
      quota_update_time: 1578552960,
      service_type: [{ service_type: 1, service_name: '标准快递' }]
    },
    {
      biz_id: '020K1839616',
      delivery_id: 'JDL',
      create_time: 1578463000,
      update_time: 1578463000,
      status_code: 1,
      alias: '',
      remark_wrong_msg: '',
      remark_content: '',
      service_type: []
    }
  ]
}

test('the reply is returned as wx-server-sdk gives it', async () => {
  const returned = await fixture('success', REPLY)
  assert.equal(returned.count, 2)
  assert.equal(returned.errCode, 0)
  assert.equal(returned.list[0].bizId, '四川成都某某公司_示例商户')
  assert.equal(returned.list[0].quotaNum, 2)
  assert.equal(returned.list[0].serviceType[0].serviceName, '标准快递')
  assert.ok(!('quotaNum' in returned.list[1]))
})

test('an app without accounts has an empty list', async () => {
  const returned = await fixture('no-accounts', { count: 0, list: [] })
  assert.deepEqual(returned.list, [])
})

test('a refusal by WeChat is returned with its errCode and errMsg', async () => {
  const returned = await fixture('refused', {
    errcode: 48001,
    errmsg: 'api unauthorized rid: 60c976e4-051e6c8e-47215cd3'
  })
  assert.deepEqual(returned, {
    errCode: 48001,
    errMsg: 'openapi.logistics.getAllAccount:fail api unauthorized rid: 60c976e4-051e6c8e-47215cd3'
  })
})

test('a missing permission is returned with the cloud\'s own errCode', async () => {
  const returned = await fixture('no-permission', {
    errcode: -604101,
    errmsg: 'function has no permission to call this API'
  })
  assert.equal(returned.errCode, -604101)
})

test('a plain Error is not returned as an empty object', async () => {
  const returned = await fixture('plain-error', () => {
    throw new TypeError('socket hang up')
  })
  assert.deepEqual(returned, { errCode: -1, errMsg: 'socket hang up' })
})

test('a reply that is text is handed on as wx-server-sdk wraps it', async () => {
  const returned = await fixture('text', '<html></html>')
  assert.deepEqual(Object.keys(returned), ['result', 'errMsg', 'errCode'])
})

test('nothing that is thrown looks like a success', async () => {
  const odd = [
    undefined,
    null,
    'text',
    42,
    {},
    new Error(''),
    { errCode: 0, errMsg: '' },
    { errCode: '45009' },
    { errCode: NaN },
    Object.create(null),
    { errMsg: { toString: null } },
    Symbol('odd'),
    Object.create(null, { errMsg: { value: 'hidden' } })
  ]
  for (const thrown of odd) {
    const json = await result(() => { throw thrown })
    const { errCode, errMsg } = JSON.parse(json)
    assert.ok(Number.isInteger(errCode) && errCode !== 0, json)
    assert.ok(typeof errMsg === 'string' && errMsg !== '', json)
  }
})

test('the function asks for nothing but the account list, in its own environment', async () => {
  sdk.calls.length = 0
  await result(REPLY)
  assert.deepEqual(sdk.calls, [{}])
  assert.deepEqual(sdk.initialised, { env: sdk.DYNAMIC_CURRENT_ENV })
})

test('config.json allows exactly the calls that index.js makes', () => {
  const source = fs.readFileSync(path.join(FUNCTION, 'index.js'), 'utf8')
  const called = [...source.matchAll(/cloud\.openapi\.(\w+\.\w+)\(/g)].map(([, name]) => name)
  assert.deepEqual(read('config.json').permissions.openapi, [...new Set(called)])
})

test('package.json pins wx-server-sdk to one version', () => {
  assert.match(read('package.json').dependencies['wx-server-sdk'], /^\d+\.\d+\.\d+$/)
  assert.equal(read('package.json').main, 'index.js')
})

test('every fixture is one of this file\'s', () => {
  const source = fs.readFileSync(__filename, 'utf8')
  const named = [...source.matchAll(/await fixture\('([\w-]+)'/g)].map(([, name]) => `${name}.json`)
  assert.deepEqual(fs.readdirSync(FIXTURES).sort(), named.sort())
})
