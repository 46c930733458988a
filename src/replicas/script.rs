//! The scripts that run on the server: each one happens at once or not at all.

use std::sync::LazyLock;

use redis::Script;

pub(super) static ASK: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("common.lua"), include_str!("ask.lua"))));
pub(super) static FINISH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("common.lua"),
        include_str!("finish.lua")
    ))
});
/// Keeps the mark of a fetch that is still its own.
pub(super) static KEEP_MARK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
         return redis.call('PEXPIRE', KEYS[1], ARGV[2])",
    )
});
/// Stores the snapshot of a fetch, unless a later one was granted meanwhile.
pub(super) static STORE_SNAPSHOT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local latest = redis.call('HGET', KEYS[1], 'holder')
         if latest and latest ~= ARGV[1] then return 0 end
         redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
         return 1",
    )
});
/// Puts another form of a fetch's snapshot in its place.
pub(super) static REVISE_SNAPSHOT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('HGET', KEYS[1], 'snapshot') ~= ARGV[1] then return 0 end
         redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
         redis.call('HSET', KEYS[1], 'snapshot', ARGV[2])
         return 1",
    )
});
/// Holds calls without a turn. Further arguments: the daily limit (empty for none), the calls (0: holds none any
/// longer) and what for.
pub(super) static HOLD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        include_str!("common.lua"),
        "local holder = replica .. ':' .. argument(3)
         local used, held, answer = count(holder)
         hold(holder, whole(argument(2)), used, held, whole(argument(1)))
         return answer"
    ))
});
pub(super) static READ: LazyLock<Script> =
    LazyLock::new(|| Script::new("return redis.call('GET', KEYS[1])"));
