-- Work for lua-resty-memcached, as it is, over fcgi.ngx.  Arguments: host, port.
-- SPDX-License-Identifier: MIT
require "fcgi.ngx"
local memcached = require "nginx.memcached" -- so Debian calls it

local host, port = ...

local function connect(options)
  local cache = assert(memcached:new(options))
  cache:set_timeout(60000) -- ms
  assert(cache:connect(host, port))
  return cache
end

local function keep(cache)
  expect(1, cache:set_keepalive(10000, 100))
end

local function identity(text)
  return text
end

function works.items(_, key)
  local cache = connect()
  expect(nil, cache:get(key .. "a"))
  expect(1, cache:set(key .. "a", "one"))
  expect("one", cache:get(key .. "a"))
  expect(1, cache:set(key .. "f", "flagged", 100, 42))
  local value, flags, err = cache:get(key .. "f")
  expect({ "flagged", "42" }, { value, flags, err })
  local ok, why = cache:add(key .. "a", "two")
  expect({ nil, "NOT_STORED" }, { ok, why })
  expect(1, cache:replace(key .. "a", "two"))
  expect(1, cache:append(key .. "a", "+"))
  expect(1, cache:prepend(key .. "a", "-"))
  expect("-two+", cache:get(key .. "a"))
  ok, why = cache:replace(key .. "none", "x")
  expect({ nil, "NOT_STORED" }, { ok, why })
  expect(1, cache:delete(key .. "a"))
  ok, why = cache:delete(key .. "a")
  expect({ nil, "NOT_FOUND" }, { ok, why })
  keep(cache)
end

function works.numbers(_, key)
  local cache = connect()
  expect(1, cache:set(key .. "n", "41"))
  expect("42", cache:incr(key .. "n", 1))
  expect("32", cache:decr(key .. "n", 10))
  expect(1, cache:touch(key .. "n", 100))
  expect("1.6.", cache:version():sub(1, 4))
  local lines = assert(cache:stats())
  expect("STAT pid", lines[1]:sub(1, 8))
  keep(cache)
end

function works.many(_, key)
  local cache = connect()
  local keys, wanted = {}, {}
  for i = 1, 200 do
    keys[i] = key .. i .. " \r\n%" -- is escaped on its way
    wanted[keys[i]] = { ("value %d\r\n"):format(i):rep(i), "0" }
    expect(1, cache:set(keys[i], wanted[keys[i]][1]))
  end
  keys[201] = key .. "none"
  expect(wanted, cache:get(keys))
  keep(cache)
end

-- Compare and set: of two who know the same version one may write.
function works.versions(_, key)
  local cache = connect { key_transform = { identity, identity } }
  expect(1, cache:set(key .. "v", "old"))
  local value, _, version = cache:gets(key .. "v")
  expect("old", value)
  expect(1, cache:cas(key .. "v", "new", version))
  local ok, why = cache:cas(key .. "v", "newer", version)
  expect({ nil, "EXISTS" }, { ok, why })
  expect("new", cache:get(key .. "v"))
  keep(cache)
end

function works.big(_, key)
  local cache = connect()
  for i, size in ipairs { 0, 1, 65535, 65536, 65537, 1000000 } do
    local value = bytes(size, i)
    expect(1, cache:set(key .. "big", value))
    expect(true, cache:get(key .. "big") == value)
  end
  keep(cache)
end

function works.errors(_, key)
  local cache = connect()
  local ok, why = cache:set(key .. "huge", bytes(2 << 20))
  expect({ nil, "SERVER_ERROR object too large for cache" }, { ok, why })
  expect(1, cache:set(key .. "text", "abc"))
  ok, why = cache:incr(key .. "text", 1)
  expect(nil, ok)
  expect("CLIENT_ERROR", why:match "^%S+")
  expect(1, cache:quit())
  ok, why = memcached:new():connect(host, 1)
  expect({ nil, "connection refused" }, { ok, why })
end

-- How often the connection was used before.
function works.reused()
  local cache = connect()
  local times = cache:get_reused_times()
  assert(cache:version())
  keep(cache)
  return times
end

-- Counts, exactly, whoever else does.
function works.count(key)
  local cache = connect()
  cache:add(key, 0)
  for _ = 1, 20 do assert(cache:incr(key, 1)) end
  keep(cache)
end
