--- fcgi.ngx -- OpenResty's `ngx`, as far as libraries for it need it: lua-resty-
--- redis, -memcached, -mysql, -http, -websocket, pgmoon and their like run
--- unmodified.  Sets the global `ngx`, and offers the modules that come with
--- OpenResty to `require`.  Times of sockets are in milliseconds, as there.
-- SPDX-License-Identifier: MIT
local _, private = ...
local fcgi = require "fcgi"
local misuse = require "fcgi.misuse"
local hash = require "fcgi.ngx.hash"
local re = require "fcgi.ngx.regex"
local text = require "fcgi.ngx.text"
local thread = require "fcgi.ngx.thread"
local time = require "fcgi.ngx.time"

local ngx = {}

for name, number in pairs(require "fcgi.ngx.constants") do
  ngx[name] = number
end

--- The same value as cjson.null.
ngx.null = private.null()

-- Libraries ask what they run in.
ngx.config = {
  debug = false, subsystem = "http", nginx_version = 1027001,
  ngx_lua_version = 10028,
}

ngx.get_phase = private.phase
ngx.is_subrequest = false

--- Libraries that find no dictionary of that name say so.
ngx.shared = {}

-- --- logs -------------------------------------------------------------------

local levels = {
  [ngx.STDERR] = "error", [ngx.EMERG] = "error", [ngx.ALERT] = "error",
  [ngx.CRIT] = "error", [ngx.ERR] = "error", [ngx.WARN] = "warn",
  [ngx.NOTICE] = "notice", [ngx.INFO] = "info", [ngx.DEBUG] = "debug",
}

--- Its own null is called so.
local function show(count, value, ...)
  if count == 0 then
    return
  elseif value == ngx.null then
    value = "null"
  end
  return value, show(count - 1, ...)
end

function ngx.log(level, ...)
  local name = levels[level] or misuse.bad_argument(1, "log",
    ("a level expected, such as ngx.ERR, got %s"):format(tostring(level)))
  fcgi.log(name, show(select("#", ...), ...))
end

-- --- time -------------------------------------------------------------------

function ngx.now()
  return private.clock()
end

--- There is no time that was kept from the beginning of the turn.
function ngx.update_time() end

function ngx.time()
  return os.time()
end

ngx.today, ngx.localtime, ngx.utctime =
  time.today, time.localtime, time.utctime
ngx.http_time, ngx.cookie_time = time.http_time, time.cookie_time
ngx.parse_http_time = time.parse_http_time

-- --- tasks ------------------------------------------------------------------

ngx.sleep = fcgi.sleep
ngx.thread = thread.threads(fcgi, private)
ngx.timer = thread.timers(fcgi, private)

ngx.worker = {}

--- From 0 on; nil before there is a worker, as the next two.
function ngx.worker.id()
  return fcgi.worker and fcgi.worker.id - 1
end

function ngx.worker.pid()
  return fcgi.worker and fcgi.worker.pid
end

function ngx.worker.count()
  return fcgi.worker and fcgi.worker.count
end

ngx.worker.exiting = private.is_exiting

-- --- texts ------------------------------------------------------------------

ngx.escape_uri, ngx.unescape_uri = text.escape_uri, text.unescape_uri
ngx.encode_args, ngx.decode_args = text.encode_args, text.decode_args
ngx.encode_base64, ngx.decode_base64 = text.encode_base64, text.decode_base64
ngx.quote_sql_str = text.quote_sql_str
ngx.crc32_short, ngx.crc32_long = text.crc32, text.crc32
ngx.md5, ngx.md5_bin = hash.md5, hash.md5_bin
ngx.sha1_bin, ngx.hmac_sha1 = hash.sha1_bin, hash.hmac_sha1

ngx.re = {
  match = re.match, find = re.find, gmatch = re.gmatch, sub = re.sub,
  gsub = re.gsub,
}

-- --- requests ---------------------------------------------------------------

local parts = require "fcgi.ngx.request" (private)

for _, name in ipairs { "var", "req", "header", "print", "say", "flush" } do
  ngx[name] = parts[name]
end

local getters = { ctx = parts.get_ctx, status = parts.get_status }
local setters = { ctx = parts.set_ctx, status = parts.set_status }

setmetatable(ngx, {
  __index = function(_, name)
    local get = getters[name]
    return get and get()
  end,
  __newindex = function(_, name, value)
    local set = setters[name]
    if set then
      set(value)
    else
      rawset(ngx, name, value)
    end
  end,
})

-- --- sockets ----------------------------------------------------------------

ngx.socket = require "fcgi.ngx.socket" (fcgi, private)

-- --- modules that come with OpenResty or LuaJIT -----------------------------

--- A module of that name that the script has already stays.
local function offer(name, module)
  if package.preload[name] == nil then
    package.preload[name] = function() return module end
  end
end

local function clear(t)
  for key in next, t do
    t[key] = nil
  end
end

local function nkeys(t)
  local count = 0
  for _ in next, t do
    count = count + 1
  end
  return count
end

local function clone(t)
  local copy = {}
  for key, value in next, t do
    copy[key] = value
  end
  return copy
end

offer("table.new", private.new_table)
offer("table.clear", clear)
offer("table.nkeys", nkeys)
offer("table.isempty", function(t) return next(t) == nil end)
offer("table.clone", clone)
offer("bit", require "fcgi.ngx.bit")
offer("ffi", require "fcgi.ngx.ffi")
offer("ngx.re", re.module)
offer("ngx.semaphore", thread.semaphores(fcgi))

--- Debian's packages name them after nginx.
for _, family in ipairs { "resty.", "nginx." } do
  for _, kind in ipairs(hash.kinds) do
    offer(family .. kind, hash.module(kind))
  end
  offer(family .. "string", hash.string)
  offer(family .. "random", { bytes = fcgi.random })
end

--- Of Lua 5.1's globals the one that such libraries take at their top.
if rawget(_G, "unpack") == nil then
  rawset(_G, "unpack", table.unpack)
end

_G.ngx = ngx
return ngx
