-- Begins every script.
--   KEYS  1 limiter (hash), 2 calls of the day (hash), 3 mark of the fetch under way (string)
-- Whatever can't be read as a number is taken for absent: the values may be anybody's.

local DAY = 86400000
local CHINA = 28800000 -- UTC+8, the whole year
local KEPT = 2 * DAY -- longer than anything here means anything

-- Milliseconds since 1970 by the server's clock, the one clock that all replicas go by.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local now = clock()
local today = math.floor((now + CHINA) / DAY)

local function whole(value)
  local n = tonumber(value)
  if n and n >= 0 and n < 1e15 then
    return math.floor(n)
  end
end

local function text(n)
  return string.format('%.0f', n)
end

local function get(field)
  return redis.call('HGET', KEYS[1], field)
end

local function set(field, value)
  redis.call('HSET', KEYS[1], field, value)
end

-- The arguments of every script: 1 turn, 2 replica, 3 day, 4 used, 5 here, 6 count of others, then a name and a
-- number for each. What else a script takes comes after them, from `argument(1)` on.
local turn, replica = ARGV[1], ARGV[2]
local others = whole(ARGV[6])

local function argument(n)
  return ARGV[6 + 2 * others + n]
end

-- Adds what a replica knows to the day's calls, which are kept by replica: a count that only grows can be told again
-- and again, and brought back by anybody when it was lost. Returns the calls sent, those that others than `holder`
-- hold, and the answer's beginning.
local function count(holder)
  if whole(redis.call('HGET', KEYS[2], 'day')) ~= today then
    redis.call('DEL', KEYS[2])
    redis.call('HSET', KEYS[2], 'day', text(today))
  end
  local known = whole(ARGV[3]) == today
  if known then
    local function raise(name, calls)
      if calls > (whole(redis.call('HGET', KEYS[2], 'sent:' .. name)) or 0) then
        redis.call('HSET', KEYS[2], 'sent:' .. name, text(calls))
      end
    end
    raise(replica, whole(ARGV[5]) or 0)
    for i = 7, 5 + 2 * others, 2 do
      raise(ARGV[i], whole(ARGV[i + 1]) or 0)
    end
  end
  local answer = { 'now', text(now), 'today', text(today) }
  -- `unnamed`: calls that are known of, but no longer whose they were.
  local unnamed, used, held = 0, 0, 0
  local fields = redis.call('HGETALL', KEYS[2])
  for i = 1, #fields, 2 do
    local name, calls = fields[i], whole(fields[i + 1]) or 0
    if string.sub(name, 1, 5) == 'sent:' then
      used = used + calls
      answer[#answer + 1] = name
      answer[#answer + 1] = text(calls)
    elseif name == 'unnamed' then
      unnamed = calls
    elseif string.sub(name, 1, 5) == 'held:' and name ~= 'held:' .. holder then
      held = held + calls
    end
  end
  local told = whole(ARGV[4]) or 0
  if known and told > used + unnamed then
    unnamed = told - used
    redis.call('HSET', KEYS[2], 'unnamed', text(unnamed))
  end
  used = used + unnamed
  redis.call('PEXPIRE', KEYS[2], KEPT)
  for _, value in ipairs({ 'used', text(used), 'held', text(held) }) do
    answer[#answer + 1] = value
  end
  return used, held, answer
end

-- Holds so many calls for `holder`, at most what the limit leaves.
local function hold(holder, wanted, used, held, limit)
  if limit then
    wanted = math.max(0, math.min(wanted, limit - used - held))
  end
  if wanted == 0 then
    redis.call('HDEL', KEYS[2], 'held:' .. holder)
  else
    redis.call('HSET', KEYS[2], 'held:' .. holder, text(wanted))
  end
end
