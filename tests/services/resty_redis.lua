-- Work for lua-resty-redis, as it is, over fcgi.ngx.  Arguments: host, port,
-- path.
-- SPDX-License-Identifier: MIT
local fcgi = require "fcgi"
local ngx = require "fcgi.ngx"
local redis = require "nginx.redis" -- so Debian calls it

local host, port, path = ...

local function connect()
  local red = assert(redis:new())
  red:set_timeout(60000) -- ms
  assert(red:connect(host, port))
  return red
end

local function keep(red)
  expect(1, red:set_keepalive(10000, 100))
end

function works.strings(_, key)
  local red = connect()
  expect("PONG", red:ping())
  expect("OK", red:set(key .. "a", "1"))
  expect("1", red:get(key .. "a"))
  expect(ngx.null, red:get(key .. "none"))
  expect(124, red:incrby(key .. "a", 123))
  expect("OK", red:mset(key .. "b", "x y", key .. "c", ""))
  expect({ "124", "x y", "", ngx.null },
    red:mget(key .. "a", key .. "b", key .. "c", key .. "none"))
  expect(1, red:expire(key .. "a", 100))
  expect(3, red:del(key .. "a", key .. "b", key .. "c"))
  keep(red)
end

function works.structures(_, key)
  local red = connect()
  expect("OK", red:hmset(key .. "hash", { name = "Ada", born = 1815 }))
  expect({ name = "Ada", born = "1815" },
    red:array_to_hash(red:hgetall(key .. "hash")))
  expect("OK", red:hmset(key .. "hash", "died", 1852))
  expect({ "Ada", "1852" }, red:hmget(key .. "hash", "name", "died"))
  for i = 1, 100 do expect(i, red:rpush(key .. "list", i)) end
  expect({ "99", "100" }, red:lrange(key .. "list", -2, -1))
  expect({ key .. "list", "1" }, red:blpop(key .. "list", 1))
  expect(3, red:sadd(key .. "set", "b", "a", "c"))
  expect({ "a", "b", "c" }, red:sort(key .. "set", "ALPHA"))
  for i = 1, 10 do red:zadd(key .. "scores", i * 1.5, "member" .. i) end
  expect({ "member10", "15" },
    red:zrevrange(key .. "scores", 0, 0, "withscores"))
  expect({ 1, { "two", ngx.null } },
    red:eval("return {1, {'two', false}}", 0))
  keep(red)
end

function works.pipeline(_, key)
  local red = connect()
  red:init_pipeline()
  for i = 1, 1000 do
    red:set(key .. i, ("value %d "):format(i):rep(i % 50))
    red:get(key .. i)
  end
  red:lpush(key .. 1, "wrong kind")
  local replies = assert(red:commit_pipeline())
  expect(2001, #replies)
  for i = 1, 1000 do
    expect(("value %d "):format(i):rep(i % 50), replies[2 * i])
  end
  expect(false, replies[2001][1])
  expect("WRONGTYPE", replies[2001][2]:match "^%w+")
  red:init_pipeline()
  red:get(key .. 2)
  red:cancel_pipeline()
  expect("value 2 value 2 ", red:get(key .. 2))
  keep(red)
end

function works.big(_, key)
  local red = connect()
  for i, size in ipairs { 0, 1, 65535, 65536, 65537, 5 << 20 } do
    local value = bytes(size, i)
    expect("OK", red:set(key .. "big", value))
    expect(true, red:get(key .. "big") == value)
  end
  red:del(key .. "big")
  keep(red)
end

-- The number is read, then written in a transaction that fails if somebody
-- else was faster.
function works.transaction(key)
  local red = connect()
  repeat
    expect("OK", red:watch(key))
    local n = tonumber(red:get(key)) or 0
    fcgi.sleep(0)
    expect("OK", red:multi())
    expect("QUEUED", red:set(key, n + 1))
    local done = red:exec()
  until done ~= ngx.null
  keep(red)
end

function works.errors(_, key)
  local red = connect()
  red:set(key .. "text", "abc")
  local ok, err = red:incr(key .. "text")
  expect(false, ok)
  expect("ERR value is not an integer or out of range", err)
  expect("abc", red:get(key .. "text")) -- the connection goes on
  expect(1, red:close())
  ok, err = red:get(key .. "text")
  expect(nil, ok)
  expect("closed", err)
  ok, err = redis:new():connect(host, 1)
  expect(nil, ok)
  expect("connection refused", err)
end

function works.unix(_, key)
  local red = assert(redis:new())
  assert(red:connect("unix:" .. path))
  expect("OK", red:set(key, "through a file"))
  expect("through a file", red:get(key))
  keep(red)
  assert(red:connect("unix:" .. path))
  expect(true, red:get_reused_times() > 0)
  expect("through a file", red:get(key))
  keep(red)
end

function works.pubsub(_, key)
  local is_ready = fcgi.channel()
  local listener = fcgi.spawn(function()
    local red = connect()
    expect({ "subscribe", key .. "news", 1 }, red:subscribe(key .. "news"))
    is_ready:put(true)
    for i = 1, 200 do
      expect({ "message", key .. "news", tostring(i) }, red:read_reply())
    end
    expect({ "unsubscribe", key .. "news", 0 },
      red:unsubscribe(key .. "news"))
    keep(red)
    return true
  end)
  is_ready:get()
  local red = connect()
  for i = 1, 200 do expect(1, red:publish(key .. "news", i)) end
  expect(true, listener:join(30))
  keep(red)
end

-- How often the connection was used before.
function works.reused()
  local red = connect()
  local times = red:get_reused_times()
  expect("PONG", red:ping())
  keep(red)
  return times
end

-- Waits for an element; the argument is the list.
function works.pop(list)
  local red = connect()
  local found = assert(red:blpop(list, 60))
  keep(red)
  return found[2]
end

-- What it hears of its server's end.
function works.broken(list)
  local found, err = connect():blpop(list, 60)
  expect(nil, found)
  return err
end

function works.timeout(list)
  local red = connect()
  red:set_timeout(50)
  local found, err = red:blpop(list, 60)
  expect(nil, found)
  local _, after = red:ping() -- it has closed the connection
  return err .. ", " .. after
end
