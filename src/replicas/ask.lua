-- Asks for a turn: grants a fetch, says why there is none, or that one is under way; and what is known.
--   arguments  1 reloaded  2 min_interval  3 early  4 longest_hold  5 daily_limit ('' for none)  6 calls  7 mark_ttl
-- Times in milliseconds. Answers with a flat list of names and values.

local holder = replica .. ':fetch'
local interval, early = whole(argument(2)), whole(argument(3))
local limit = whole(argument(5))

local under_way = redis.call('GET', KEYS[3])
local used, held, answer = count(holder)

-- A time that the rules can't have asked for is cut: a server's clock can be set back, too.
local function not_after(field, latest)
  local at = whole(get(field))
  if at and at > latest then
    at = latest
    set(field, text(at))
  end
  return at
end

local BREAKER = { 'breaker_reason', 'breaker_mending', 'breaker_until', 'breaker_day', 'breaker_backoff' }

-- What only an operator can mend may be mended now.
if argument(1) == '1' and get('breaker_mending') == '1' then
  redis.call('HDEL', KEYS[1], 'next_fetch', unpack(BREAKER))
end

local next_fetch = not_after('next_fetch', now + interval) or 0
local until_then = not_after('breaker_until', now + whole(argument(4)))
local breaker = get('breaker_reason')
  and ((until_then and now < until_then) or whole(get('breaker_day')) == today)

local verdict
if under_way == turn then
  verdict = 'granted' -- asked again over a new connection, as the answer was lost with the old one
elseif under_way then
  verdict = 'elsewhere'
elseif breaker then
  verdict = 'breaker'
elseif limit and used + held >= limit then
  verdict = 'daily_limit'
elseif next_fetch > now + early then
  verdict = 'interval'
else
  verdict = 'granted'
  set('begins', text(math.max(now, next_fetch)))
  set('next_fetch', text(math.max(now, next_fetch) + interval))
  set('holder', turn)
  redis.call('SET', KEYS[3], turn, 'PX', whole(argument(7)))
  hold(holder, whole(argument(6)), used, held, limit)
end
-- A replica has one fetch under way at most: what it held for an earlier one, it holds no longer.
if verdict ~= 'granted' then
  redis.call('HDEL', KEYS[2], 'held:' .. holder)
end
redis.call('PEXPIRE', KEYS[1], KEPT)

answer[#answer + 1] = 'verdict'
answer[#answer + 1] = verdict
for _, field in ipairs({
  'begins', 'next_fetch', 'breaker_reason', 'breaker_until', 'breaker_day', 'breaker_backoff',
  'outcome', 'outcome_at', 'last_fetch', 'snapshot', 'snapshot_at',
}) do
  local value = get(field)
  if value then
    answer[#answer + 1] = field
    answer[#answer + 1] = value
  end
end
return answer
