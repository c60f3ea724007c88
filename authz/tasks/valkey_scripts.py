"""Acts in Lua: each is one script, which the store runs alone, with its entry in the change stream.

A script looks at everything before it writes anything, for nothing takes back what a script wrote. KEYS[1] is the
prefix of all keys. Out comes `{'ok', changed task...}`, `{'none', task}` or `{'conflict', why}`. Keys, below it:

    r:<task> record    s:<task> what changes, and `f:<kind>:<value>` for what was seen    h:<task> hops paid for
    q:<task> access requests by digest, `<place>:<rejected>:<document>`    x:<txn> the task of a transaction
    a:<task> approvals by id, JSON    u:<task> hops that used them    ids, expiries: all tasks    seq, ch: the changes
"""

_COMMON = """
local p = KEYS[1]
local ok = {'ok'}
local function changed(id)
  for i = 2, #ok do if ok[i] == id then return end end
  ok[#ok + 1] = id
  redis.call('XADD', p .. 'ch', 'MAXLEN', '~', 100000, string.format('%d-0', redis.call('INCR', p .. 'seq')), 't', id)
end
local function exists(id) return redis.call('EXISTS', p .. 's:' .. id) == 1 end
local function parent_of(id) return string.match(id, '^(.*)%.[^.]*$') end
local function rejected(kept) return string.match(kept, '^%d+:(%d):') == '1' end
"""

PUT = (
    _COMMON
    + """
local id, state, suspended, expires, txn, record, cap = unpack(ARGV)
local above = parent_of(id)
while above do
  local kept = redis.call('HMGET', p .. 's:' .. above, 'state', 'suspended')
  if kept[1] ~= '0' or kept[2] ~= '0' then return {'conflict', 'the task ' .. above .. ' is not live'} end
  above = parent_of(above)
end
if exists(id) or (txn ~= '' and redis.call('EXISTS', p .. 'x:' .. txn) == 1) then
  return {'conflict', 'there is a task ' .. id .. ' already, or one of its transaction'}
end
redis.call('SET', p .. 'r:' .. id, record)
redis.call('HSET', p .. 's:' .. id, 'state', state, 'suspended', suspended, 'expires', expires, 'txn', txn, 'cap', cap)
if txn ~= '' then redis.call('SET', p .. 'x:' .. txn, id) end
redis.call('ZADD', p .. 'ids', 0, id)
redis.call('ZADD', p .. 'expiries', expires, id)
changed(id)
return ok
"""
)

# The larger state stays, so that no order of two ends ever makes a task live again.
END = (
    _COMMON
    + """
local id, state = unpack(ARGV)
if not exists(id) then return {'none', id} end
local kept = tonumber(redis.call('HGET', p .. 's:' .. id, 'state')) or 0
redis.call('HSET', p .. 's:' .. id, 'state', string.format('%d', math.max(kept, tonumber(state))))
changed(id)
return ok
"""
)

SUSPEND = (
    _COMMON
    + """
local id, suspended = unpack(ARGV)
if not exists(id) then return {'none', id} end
redis.call('HSET', p .. 's:' .. id, 'suspended', suspended)
changed(id)
return ok
"""
)

ASK = (
    _COMMON
    + """
local id, digest, document, most = unpack(ARGV)
if not exists(id) then return {'none', id} end
if redis.call('HEXISTS', p .. 'q:' .. id, digest) == 1 then return ok end
local count = redis.call('HLEN', p .. 'q:' .. id)
if count >= tonumber(most) then return {'conflict', 'the task ' .. id .. ' has ' .. count .. ' access requests'} end
redis.call('HSET', p .. 'q:' .. id, digest, count .. ':0:' .. document)
changed(id)
return ok
"""
)

APPROVE = (
    _COMMON
    + """
local id, digest, approval_id, approval = unpack(ARGV)
if not exists(id) then return {'none', id} end
local kept = redis.call('HGET', p .. 'q:' .. id, digest)
if not kept or rejected(kept) then return {'conflict', id .. ' has no open access request ' .. digest} end
redis.call('HSETNX', p .. 'a:' .. id, approval_id, approval)
changed(id)
return ok
"""
)

REJECT = (
    _COMMON
    + """
local id, digest = unpack(ARGV)
if not exists(id) then return {'none', id} end
local kept = redis.call('HGET', p .. 'q:' .. id, digest)
if not kept then return {'conflict', id .. ' has no access request ' .. digest} end
redis.call('HSET', p .. 'q:' .. id, digest, (string.gsub(kept, '^(%d+):%d:', '%1:1:')))
local all = redis.call('HGETALL', p .. 'a:' .. id)
for i = 1, #all, 2 do
  if cjson.decode(all[i + 1])[1] == digest and redis.call('HEXISTS', p .. 'u:' .. id, all[i]) == 0 then
    redis.call('HDEL', p .. 'a:' .. id, all[i])
  end
end
changed(id)
return ok
"""
)

# ARGV: task, root, hop, high water, untrusted, active, how many spends, how many approvals; those; what was seen.
PROCEED = (
    _COMMON
    + """
local id, root, hop, spends, approvals = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[7]), tonumber(ARGV[8])
if not exists(id) then return {'none', id} end
if not exists(root) then return {'none', root} end
local pay, use = {}, {}
for i = 9, 8 + spends do
  if redis.call('SISMEMBER', p .. 'h:' .. ARGV[i], hop) == 0 then
    local kept = redis.call('HMGET', p .. 's:' .. ARGV[i], 'spent', 'cap')
    if (tonumber(kept[1] or '0') or 0) >= (tonumber(kept[2] or '0') or 0) then
      return {'conflict', 'the budget of ' .. ARGV[i] .. ' is used up'}
    end
    pay[#pay + 1] = ARGV[i]
  end
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
for i = 9 + spends, 8 + spends + approvals do
  local approval, used = redis.call('HGET', p .. 'a:' .. id, ARGV[i]), redis.call('HGET', p .. 'u:' .. id, ARGV[i])
  if not approval or (used and used ~= hop) then
    return {'conflict', 'the approval ' .. ARGV[i] .. ' is gone, or was spent by another hop'}
  end
  if not used then
    if cjson.decode(approval)[4] <= now then return {'conflict', 'the approval ' .. ARGV[i] .. ' has expired'} end
    use[#use + 1] = ARGV[i]
  end
end
for _, payer in ipairs(pay) do
  redis.call('SADD', p .. 'h:' .. payer, hop)
  redis.call('HINCRBY', p .. 's:' .. payer, 'spent', 1)
  redis.call('HSET', p .. 's:' .. payer, 'last', hop)
  changed(payer)
end
for _, approval_id in ipairs(use) do
  redis.call('HSET', p .. 'u:' .. id, approval_id, hop)
  changed(id)
end
local facts, grown = p .. 's:' .. root, 0
for i, name in ipairs({'hw', 'un', 'ac'}) do
  if tonumber(ARGV[3 + i]) > (tonumber(redis.call('HGET', facts, name) or '0') or 0) then
    redis.call('HSET', facts, name, ARGV[3 + i])
    grown = 1
  end
end
for i = 9 + spends + approvals, #ARGV do grown = grown + redis.call('HSETNX', facts, ARGV[i], '') end
if grown > 0 then changed(root) end
return ok
"""
)

PURGE = (
    _COMMON
    + """
for _, id in ipairs(redis.call('ZRANGEBYSCORE', p .. 'expiries', '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local txn = redis.call('HGET', p .. 's:' .. id, 'txn')
  if txn and txn ~= '' then redis.call('DEL', p .. 'x:' .. txn) end
  for _, kind in ipairs({'r:', 's:', 'h:', 'q:', 'a:', 'u:'}) do redis.call('DEL', p .. kind .. id) end
  redis.call('ZREM', p .. 'ids', id)
  redis.call('ZREM', p .. 'expiries', id)
  changed(id)
end
return ok
"""
)
