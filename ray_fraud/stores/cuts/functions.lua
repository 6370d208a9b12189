#!lua name=ray_fraud_cuts_1
-- The atomic steps of a cut. A change of meaning takes new names (…_2), so that an owner of an
-- older release keeps the functions it was written for.
--
-- KEYS[1] is always the hash of the cut, the other keys are hashes of users; all share one hash tag.
-- ARGV[1], ARGV[2] are always the caller's epoch and token.
-- Users are written before the header, so that a step that dies half-way cannot pass as a cut.

local COPY = 4000 -- arguments per call: below Lua's limit of 8,000 values on its stack

local function stored(key)
  local found = redis.call('HMGET', key, 'epoch', 'token', 'writer_epoch', 'next_offset', 'generation', 'pending')
  return {
    epoch = tonumber(found[1] or '0'), token = found[2] or '', writer_epoch = found[3] or '',
    next_offset = found[4] or '', generation = found[5] or '', pending = found[6] or '',
  }
end

-- A foreign token under our own epoch fences us, too: whoever raised the fence last owns the partition.
local function may_write(cut, epoch, token)
  return cut.epoch < tonumber(epoch) or (cut.epoch == tonumber(epoch) and cut.token == token)
end

local function unlink_users(keys)
  for i = 2, #keys do
    redis.call('UNLINK', keys[i])
  end
end

local function call_with(command, key, args, first, last)
  while first <= last do
    local upto = math.min(first + COPY - 1, last)
    redis.call(command, key, unpack(args, first, upto))
    first = upto + 1
  end
end

-- Sets the header's values args[first…last] (field, value, …) and takes out the events that its base has.
-- Owners of older releases say no base_seq: they leave it as it is.
local function write_header(key, args, first, last)
  local before = tonumber(redis.call('HGET', key, 'base_seq') or '0')
  call_with('HSET', key, args, first, last)
  local base = tonumber(redis.call('HGET', key, 'base_seq') or '0')
  for seq = before + 1, base do
    redis.call('HDEL', key, 'event:' .. seq)
  end
end

-- From args[at] on, for each of keys[2…]: the number of values to set (pairs × 2), those values,
-- the number of users to delete, their ids.
local function write_users(keys, args, at)
  for i = 2, #keys do
    local set = tonumber(args[at])
    call_with('HSET', keys[i], args, at + 1, at + set)
    at = at + set + 1
    local deleted = tonumber(args[at])
    call_with('HDEL', keys[i], args, at + 1, at + deleted)
    at = at + deleted + 1
  end
end

-- ARGV: epoch, token, the abandoned generation whose users are in KEYS[2…] or ''.
-- Returns {1, the cut's hash as a flat list} or {0, the stored epoch}.
local function raise_epoch(keys, args)
  local cut = stored(keys[1])
  if not may_write(cut, args[1], args[2]) then
    return {0, tostring(cut.epoch)}
  end
  if cut.pending ~= '' and cut.pending == args[3] then
    unlink_users(keys)
    redis.call('HDEL', keys[1], 'pending')
  end
  redis.call('HSET', keys[1], 'epoch', args[1], 'token', args[2])
  return {1, redis.call('HGETALL', keys[1])}
end

-- ARGV: epoch, token, generation of KEYS[2…], previous offset, next offset, the number n of values of
-- the header, those n values (field, value, …), users as `write_users` takes them.
local function write(keys, args)
  local cut = stored(keys[1])
  if not may_write(cut, args[1], args[2]) then
    return {'fenced', ''}
  end
  if cut.epoch < tonumber(args[1]) or cut.generation == '' then
    return {'diverged', ''}
  end
  if cut.next_offset ~= args[4] then
    local ours = cut.writer_epoch == args[1] and cut.next_offset == args[5]
    return {ours and 'already_written' or 'diverged', ''}
  end
  if cut.generation ~= args[3] then
    return {'other_generation', cut.generation}
  end
  local header = tonumber(args[6])
  write_users(keys, args, 7 + header)
  write_header(keys[1], args, 7, 6 + header)
  return {'written', ''}
end

-- ARGV: epoch, token, the abandoned generation whose users are in KEYS[2…] or '', the generation to begin.
local function begin(keys, args)
  local cut = stored(keys[1])
  if not may_write(cut, args[1], args[2]) then
    return 'fenced'
  end
  if cut.pending ~= args[3] then
    return 'changed'
  end
  unlink_users(keys)
  redis.call('HSET', keys[1], 'epoch', args[1], 'token', args[2], 'pending', args[4])
  return 'begun'
end

local function pending_is_ours(cut, args)
  return cut.epoch == tonumber(args[1]) and cut.token == args[2] and cut.pending == args[3]
end

-- ARGV: epoch, token, the begun generation of KEYS[2…], users as `write_users` takes them.
local function add(keys, args)
  local cut = stored(keys[1])
  if not may_write(cut, args[1], args[2]) then
    return 'fenced'
  end
  if not pending_is_ours(cut, args) then
    return 'changed'
  end
  write_users(keys, args, 4)
  return 'added'
end

-- ARGV: epoch, token, the begun generation, the old generation whose users are in KEYS[2…] or '',
-- the values of the header (field, value, …).
local function swap(keys, args)
  local cut = stored(keys[1])
  if not may_write(cut, args[1], args[2]) then
    return 'fenced'
  end
  if not pending_is_ours(cut, args) or cut.generation ~= args[4] then
    return 'changed'
  end
  write_header(keys[1], args, 5, #args)
  redis.call('HDEL', keys[1], 'pending')
  unlink_users(keys)
  return 'written'
end

redis.register_function('ray_fraud_cuts_1_raise_epoch', raise_epoch)
redis.register_function('ray_fraud_cuts_1_write', write)
redis.register_function('ray_fraud_cuts_1_begin', begin)
redis.register_function('ray_fraud_cuts_1_add', add)
redis.register_function('ray_fraud_cuts_1_swap', swap)
