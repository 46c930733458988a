-- Ends a turn: settles the calls, tells the others how the fetch went, and takes its mark away.
--   arguments  1 next_fetch_in  2 last_fetch ('' where nothing was tried)  3 breaker_reason ('' for none)
--              4 breaker_mending  5 breaker_in ('' for none)  6 breaker_day ('' for none)  7 breaker_backoff
--              8 snapshot_age ('' for none)
-- Times in milliseconds.

local holder = replica .. ':fetch'

redis.call('HDEL', KEYS[2], 'held:' .. holder)
local _, _, answer = count(holder)
if redis.call('GET', KEYS[3]) == turn then
  redis.call('DEL', KEYS[3])
end

-- A fetch that stood still until another one was granted has nothing to say any more.
local latest = get('holder')
if argument(2) ~= '' and (not latest or latest == turn) then
  set('holder', turn)
  set('next_fetch', text(math.max(whole(get('next_fetch')) or 0, now + whole(argument(1)))))
  set('outcome', turn)
  set('outcome_at', text(now))
  set('last_fetch', argument(2))
  redis.call('HDEL', KEYS[1], 'breaker_reason', 'breaker_mending', 'breaker_until', 'breaker_day', 'breaker_backoff')
  if argument(3) ~= '' then
    set('breaker_reason', argument(3))
    set('breaker_mending', argument(4))
    set('breaker_backoff', argument(7))
    if argument(5) ~= '' then
      set('breaker_until', text(now + whole(argument(5))))
    end
    if argument(6) ~= '' then
      set('breaker_day', argument(6))
    end
  end
  if argument(8) ~= '' then
    set('snapshot', turn)
    set('snapshot_at', text(now - whole(argument(8))))
  end
  redis.call('PEXPIRE', KEYS[1], KEPT)
end
return answer
