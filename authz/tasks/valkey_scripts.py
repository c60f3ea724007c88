"""Acts as scripts of a Valkey or Redis server: each runs whole, between no others, and tells what it changed.

Keys come first: the counter of changes, the stream of changes, then those that the act is about. The first argument is
how many changes the stream keeps. A script returns `ok` and the tasks it changed, `none` where the task is not kept, or
`conflict` and what stands against it; it looks at everything before it writes anything.
"""

_CHANGED = """
local function changed(task)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], redis.call('INCR', KEYS[1]) .. '-0', 't', task)
end
"""

# KEYS 3 facts, 4 record, 5 transaction, 6 ids, 7 expiries, 8... facts of the tasks above, nearest first.
# ARGV 2 id, 3 record, 4 active, 5 expires, 6 transaction, 7... names and values of the facts.
PUT = (
    _CHANGED
    + """
for above = 8, #KEYS do
  local found = redis.call('HMGET', KEYS[above], 'state', 'suspended')
  if found[1] ~= ARGV[4] or found[2] ~= '0' then return {'conflict', 'a task above ' .. ARGV[2] .. ' is not live'} end
end
if redis.call('EXISTS', KEYS[3], KEYS[4]) > 0 or (ARGV[6] ~= '' and redis.call('EXISTS', KEYS[5]) > 0) then
  return {'conflict', 'there is a task ' .. ARGV[2] .. ' already, or one of its transaction'}
end
redis.call('SET', KEYS[4], ARGV[3])
for i = 7, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
if ARGV[6] ~= '' then redis.call('SET', KEYS[5], ARGV[2]) end
redis.call('ZADD', KEYS[6], 0, ARGV[2])
redis.call('ZADD', KEYS[7], ARGV[5], ARGV[2])
changed(ARGV[2])
return {'ok', ARGV[2]}
"""
)

# KEYS 3 facts. ARGV 2 id, 3 field, 4 value. A state only rises: no order of acts makes an ended task live again.
SET = (
    _CHANGED
    + """
local before = redis.call('HGET', KEYS[3], ARGV[3])
if not before then return {'none'} end
if ARGV[3] ~= 'state' or tonumber(before) < tonumber(ARGV[4]) then redis.call('HSET', KEYS[3], ARGV[3], ARGV[4]) end
changed(ARGV[2])
return {'ok', ARGV[2]}
"""
)

# KEYS 3 facts, 4 requests. ARGV 2 id, 3 digest, 4 document, 5 how many a task may have.
ASK = (
    _CHANGED
    + """
if redis.call('EXISTS', KEYS[3]) == 0 then return {'none'} end
if redis.call('HEXISTS', KEYS[4], ARGV[3]) == 1 then return {'ok'} end
local count = redis.call('HLEN', KEYS[4])
if count >= tonumber(ARGV[5]) then
  return {'conflict', 'the task ' .. ARGV[2] .. ' has ' .. count .. ' access requests'}
end
redis.call('HSET', KEYS[4], ARGV[3], '0:' .. count .. ':' .. ARGV[4])
changed(ARGV[2])
return {'ok', ARGV[2]}
"""
)

# KEYS 3 facts, 4 requests, 5 approvals. ARGV 2 id, 3 digest, 4 approval, 5 its content.
APPROVE = (
    _CHANGED
    + """
if redis.call('EXISTS', KEYS[3]) == 0 then return {'none'} end
local request = redis.call('HGET', KEYS[4], ARGV[3])
if not request or string.sub(request, 1, 1) ~= '0' then
  return {'conflict', ARGV[2] .. ' has no open access request ' .. ARGV[3]}
end
redis.call('HSETNX', KEYS[5], ARGV[4], ARGV[5])
changed(ARGV[2])
return {'ok', ARGV[2]}
"""
)

# KEYS 3 facts, 4 requests, 5 approvals. ARGV 2 id, 3 digest. An approval that was used stays, as what happened.
REJECT = (
    _CHANGED
    + """
if redis.call('EXISTS', KEYS[3]) == 0 then return {'none'} end
local request = redis.call('HGET', KEYS[4], ARGV[3])
if not request then return {'conflict', ARGV[2] .. ' has no access request ' .. ARGV[3]} end
redis.call('HSET', KEYS[4], ARGV[3], '1' .. string.sub(request, 2))
local approvals = redis.call('HGETALL', KEYS[5])
for i = 1, #approvals, 2 do
  local id = approvals[i]
  if string.sub(id, 1, 4) ~= 'hop:' and cjson.decode(approvals[i + 1])[1] == ARGV[3]
    and redis.call('HEXISTS', KEYS[5], 'hop:' .. id) == 0 then redis.call('HDEL', KEYS[5], id) end
end
changed(ARGV[2])
return {'ok', ARGV[2]}
"""
)

# KEYS 3 facts, 4 approvals, 5 facts of the session, then facts, record and paid hops of each task that pays.
# ARGV 2 id, 3 id of the session, 4 hop, 5 high water, 6 untrusted, 7 active, 8 how many pay, 9 how many approvals, then
# the tasks that pay, the approvals, and what was seen.
PROCEED = (
    _CHANGED
    + """
if redis.call('EXISTS', KEYS[3]) == 0 then return {'none'} end
local paying, approving = tonumber(ARGV[8]), tonumber(ARGV[9])
local touched, owing, using = {}, {}, {}
for i = 1, paying do
  local facts, record, paid = KEYS[3 * i + 3], KEYS[3 * i + 4], KEYS[3 * i + 5]
  if redis.call('SISMEMBER', paid, ARGV[4]) == 0 then
    local content = redis.call('GET', record)
    local cap = content and cjson.decode(content)['budget_hops'] or 0
    if tonumber(redis.call('HGET', facts, 'spent') or 0) >= cap then
      return {'conflict', 'the budget of ' .. ARGV[9 + i] .. ' is used up'}
    end
    owing[#owing + 1] = i
  end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
for i = 1, approving do
  local id = ARGV[9 + paying + i]
  local content, hop = redis.call('HGET', KEYS[4], id), redis.call('HGET', KEYS[4], 'hop:' .. id)
  if not content or (hop and hop ~= ARGV[4]) then
    return {'conflict', 'the approval ' .. id .. ' is gone, or was spent by another hop'}
  end
  if not hop then
    if cjson.decode(content)[4] <= now then return {'conflict', 'the approval ' .. id .. ' has expired'} end
    using[#using + 1] = id
  end
end
for _, i in ipairs(owing) do
  redis.call('SADD', KEYS[3 * i + 5], ARGV[4])
  redis.call('HINCRBY', KEYS[3 * i + 3], 'spent', 1)
  redis.call('HSET', KEYS[3 * i + 3], 'last', ARGV[4])
  touched[#touched + 1] = ARGV[9 + i]
end
for _, id in ipairs(using) do redis.call('HSET', KEYS[4], 'hop:' .. id, ARGV[4]) end
if #using > 0 then touched[#touched + 1] = ARGV[2] end
if redis.call('EXISTS', KEYS[5]) == 1 then
  local grown = 0
  for i, name in ipairs({'high', 'untrusted', 'active'}) do
    if tonumber(redis.call('HGET', KEYS[5], name) or 0) < tonumber(ARGV[4 + i]) then
      redis.call('HSET', KEYS[5], name, ARGV[4 + i])
      grown = grown + 1
    end
  end
  for i = 10 + paying + approving, #ARGV do grown = grown + redis.call('HSETNX', KEYS[5], ARGV[i], '') end
  if grown > 0 then touched[#touched + 1] = ARGV[3] end
end
for _, task in ipairs(touched) do changed(task) end
return {'ok', unpack(touched)}
"""
)

# KEYS 3 ids, 4 expiries, then facts, record, requests, approvals, paid hops and transaction of each task.
# ARGV 2 expired before, 3... the tasks.
PURGE = (
    _CHANGED
    + """
local purged = {}
for i = 3, #ARGV do
  local expires = redis.call('ZSCORE', KEYS[4], ARGV[i])
  if expires and tonumber(expires) < tonumber(ARGV[2]) then
    local first = 6 * (i - 3) + 5
    redis.call('DEL', KEYS[first], KEYS[first + 1], KEYS[first + 2], KEYS[first + 3], KEYS[first + 4], KEYS[first + 5])
    redis.call('ZREM', KEYS[3], ARGV[i])
    redis.call('ZREM', KEYS[4], ARGV[i])
    changed(ARGV[i])
    purged[#purged + 1] = ARGV[i]
  end
end
return {'ok', unpack(purged)}
"""
)

# KEYS facts, record, requests and approvals of each task. All is of one moment, as one script.
READ = """
local found = {}
for i = 1, #KEYS, 4 do
  found[#found + 1] = {redis.call('HGETALL', KEYS[i]), redis.call('GET', KEYS[i + 1]),
    redis.call('HGETALL', KEYS[i + 2]), redis.call('HGETALL', KEYS[i + 3])}
end
return found
"""

ALL = (PUT, SET, ASK, APPROVE, REJECT, PROCEED, PURGE, READ)
