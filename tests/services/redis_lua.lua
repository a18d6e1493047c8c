-- Work for redis-lua, as it is, over fcgi.socket.  Arguments: host, port, path.
-- Each work gets a prefix for its keys, which nobody else has.
-- SPDX-License-Identifier: MIT
local fcgi = require "fcgi"
require "fcgi.socket"
local redis = require "redis"

local host, port, path = ...

local function connect()
  return redis.connect(host, port)
end

function works.strings(_, key)
  local client = connect()
  expect(true, client:ping())
  expect(true, client:set(key .. "a", "1"))
  expect("1", client:get(key .. "a"))
  expect(nil, client:get(key .. "none"))
  expect(3, client:append(key .. "a", "23"))
  expect("23", client:getrange(key .. "a", 1, -1))
  expect(124, client:incr(key .. "a"))
  expect(1000, client:incrby(key .. "a", 876))
  expect(true, client:mset { [key .. "b"] = "x y", [key .. "c"] = "" })
  expect({ "1000", "x y", "" },
    client:mget(key .. "a", key .. "b", key .. "c"))
  expect(true, client:setex(key .. "d", 100, "gone soon"))
  expect(true, client:ttl(key .. "d") > 90)
  expect(3, client:del(key .. "a", key .. "b", key .. "c"))
  expect(false, client:exists(key .. "a"))
  client:quit()
end

function works.structures(_, key)
  local client = connect()
  local hash, list, set, scores =
    key .. "hash", key .. "list", key .. "set", key .. "scores"
  expect(true, client:hmset(hash, { name = "Ada", born = "1815" }))
  expect({ name = "Ada", born = "1815" }, client:hgetall(hash))
  expect({ "Ada", "1815" }, client:hmget(hash, "name", "born"))
  for i = 1, 100 do expect(i, client:rpush(list, i)) end
  expect({ "99", "100" }, client:lrange(list, -2, -1))
  expect("1", client:lpop(list))
  expect({ list, "2" }, client:blpop(list, 1))
  expect(3, client:sadd(set, "b", "a", "c"))
  expect({ "a", "b", "c" }, client:sort(set, { alpha = true }))
  for i = 1, 10 do client:zadd(scores, i * 1.5, "member" .. i) end
  expect({ { "member10", "15" }, { "member9", "13.5" } },
    client:zrevrange(scores, 0, 1, { withscores = true }))
  expect({ "member2", "member3" }, client:zrangebyscore(scores, 2, 5))
  expect("there are 98", client:eval(
    "return ARGV[1] .. redis.call('llen', KEYS[1])", 1, list, "there are "))
  client:quit()
end

-- Of commands whose replies are converted: with others redis-lua's pipelines
-- fail on Lua 5.3 and later, whatever the sockets are.
function works.pipeline(_, key)
  local client = connect()
  for i = 1, 1000, 3 do client:set(key .. i, i) end
  local replies, count = client:pipeline(function(p)
    for i = 1, 1000 do p:exists(key .. i) end
  end)
  expect(1000, count)
  for i = 1, 1000 do expect(i % 3 == 1, replies[i]) end
  expect_error("position out of bounds", client.pipeline, client, function(p)
    p:get(key .. 1)
    p:get(key .. 2)
  end)
  client:quit()
end

function works.big(_, key)
  local client = connect()
  for i, size in ipairs { 0, 1, 65535, 65536, 65537, 5 << 20 } do
    local value = bytes(size, i)
    expect(true, client:set(key .. "big", value))
    expect(true, client:get(key .. "big") == value)
  end
  client:del(key .. "big")
  client:quit()
end

-- The number is read, then written in a transaction that fails if somebody
-- else was faster.
function works.transaction(key)
  local client = connect()
  local replies = client:transaction({
    watch = key, cas = true, retry = 1000,
  }, function(t)
    local n = tonumber(t:get(key) or 0)
    fcgi.sleep(0)
    t:multi()
    t:set(key, n + 1)
    t:incr(key .. ":commits")
  end)
  expect(true, replies[1])
  client:quit()
end

function works.errors(_, key)
  local client = connect()
  client:set(key .. "text", "abc")
  expect_error("redis error: .*not an integer", client.incr, client,
    key .. "text")
  expect_error("redis error: WRONGTYPE", client.lpush, client, key .. "text",
    "x")
  expect("abc", client:get(key .. "text")) -- the connection goes on
  client:quit()
  expect_error("could not connect to .*%[connection refused%]",
    redis.connect, host, 1)
end

function works.unix(_, key)
  local client = redis.connect { scheme = "unix", path = path }
  expect(true, client:set(key, "through a file"))
  expect("through a file", client:get(key))
  client:quit()
end

-- Hears what is said on a channel, in the order in which it was said.
function works.pubsub(_, key)
  local heard, is_ready = {}, fcgi.channel()
  local listener = fcgi.spawn(function()
    local client = connect()
    for message, abort in client:pubsub { subscribe = { key .. "news" } } do
      if message.kind == "subscribe" then
        is_ready:put(true)
      elseif message.kind == "message" then
        heard[#heard + 1] = tonumber(message.payload)
        if #heard == 200 then abort() end
      end
    end
    client:quit()
    return true
  end)
  is_ready:get()
  local client = connect()
  for i = 1, 200 do expect(1, client:publish(key .. "news", i)) end
  expect(true, listener:join(30))
  for i = 1, 200 do expect(i, heard[i]) end
  client:quit()
end

-- Waits for an element; the argument is the list.
function works.pop(list)
  local client = connect()
  local found = client:blpop(list, 60)
  client:quit()
  return found[2]
end

-- Says what a connection says of its server's end, then works with a new one.
function works.broken(list)
  local client = connect()
  local ok, err = pcall(client.blpop, client, list, 60)
  expect(false, ok)
  return (tostring(err):match "connection error: .*$")
end

function works.timeout(list)
  local client = redis.connect(host, port, 0.05)
  local ok, err = pcall(client.blpop, client, list, 60)
  expect(false, ok)
  client.network.socket:close()
  return (tostring(err):match "connection error: .*$")
end
