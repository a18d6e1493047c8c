--- fcgi.socket -- LuaSocket's module over our sockets: what is written for it
--- runs as it is, and blocks nobody.
---
--- Where LuaSocket was loaded before, its table is filled, so that whoever holds
--- it has our functions; its own sockets stay what they were.
-- SPDX-License-Identifier: MIT
local fcgi = require "fcgi"
local helpers = require "fcgi.socket.helpers"
local install_ssl = require "fcgi.socket.ssl"
local select = require "fcgi.socket.select"
local unix = require "fcgi.socket.unix"
local _, private = ...

local tcp, is_address = private.tcp, private.is_address

-- --- names of hosts ----------------------------------------------------------

local families = { inet = 4, inet6 = 6 }

--- As LuaSocket says that there is none.
local function look_up(name, family)
  local list, err = fcgi.resolve(name, family)
  if not list then
    return nil, err == "not found" and "host not found" or err
  end
  return list
end

local dns = {}

--- -> address, { name =, alias =, ip = }
function dns.toip(name)
  local list, err = look_up(name, 4)
  if not list then
    return nil, err
  end
  return list[1], { name = name, alias = {}, ip = list }
end

--- -> { { family =, addr = }, ... }
function dns.getaddrinfo(name)
  local list, err = look_up(name)
  if not list then
    return nil, err
  end
  for i, address in ipairs(list) do
    list[i] = {
      family = address:find(":", 1, true) and "inet6" or "inet",
      addr = address,
    }
  end
  return list
end

function dns.gethostname()
  local file = io.open "/proc/sys/kernel/hostname"
  if not file then
    return nil, "host not found"
  end
  local name = file:read()
  file:close()
  return name
end

--- There is no way back from an address that would not block.
function dns.tohostname()
  return nil, "addresses have no names here"
end

dns.getnameinfo = dns.tohostname

-- --- sockets -----------------------------------------------------------------

local socket = {}

function socket.tcp()
  return tcp()
end

function socket.tcp4()
  return tcp(4)
end

function socket.tcp6()
  return tcp(6)
end

function socket.udp()
  return fcgi.udp()
end

function socket.udp4()
  return require "fcgi.udp"(4)
end

function socket.udp6()
  return require "fcgi.udp"(6)
end

---@param family? "inet"|"inet6"|"unspec"
function socket.connect(address, port, laddress, lport, family)
  local sock = tcp(families[family])
  local ok, err
  if laddress then
    ok, err = sock:bind(laddress, lport)
    if not ok then
      return nil, err
    end
  end
  ok, err = sock:connect(address, port)
  if not ok then
    sock:close()
    return nil, err
  end
  return sock
end

function socket.connect4(address, port, laddress, lport)
  return socket.connect(address, port, laddress, lport, "inet")
end

function socket.connect6(address, port, laddress, lport)
  return socket.connect(address, port, laddress, lport, "inet6")
end

local function listen_at(address, port, backlog)
  local sock = tcp(address:find(":", 1, true) and 6 or 4)
  local ok, err = sock:bind(address, port)
  if ok then
    ok, err = sock:listen(backlog)
  end
  if not ok then
    sock:close()
    return nil, err
  end
  return sock
end

--- A server at the first address of the host that can be had.
function socket.bind(host, port, backlog)
  if host == "*" then
    host = "0.0.0.0"
  end
  local list, err = { host }, nil
  if not is_address(host) then
    list, err = look_up(host)
    if not list then
      return nil, err
    end
  end
  for _, address in ipairs(list) do
    local server
    server, err = listen_at(address, port, backlog)
    if server then
      return server
    end
  end
  return nil, err
end

function socket.sleep(seconds)
  if seconds > 0 then
    fcgi.sleep(math.min(seconds, 1e9))
  end
end

socket.select = select

socket._VERSION = "LuaSocket 3.0.0"
socket._DATAGRAMSIZE = 8192
socket._SETSIZE = 1 << 20
socket._SOCKETINVALID = -1
socket.BLOCKSIZE = 2048
socket.gettime = private.clock

-- --- into place --------------------------------------------------------------

--- What LuaSocket has besides need not be replaced: it does not wait.
local kept = {
  _VERSION = true, _DATAGRAMSIZE = true, _SOCKETINVALID = true,
  BLOCKSIZE = true, gettime = true, gethostname = true,
}

local function fill(target, source)
  for name, value in pairs(source) do
    if target[name] == nil or not kept[name] then
      target[name] = value
    end
  end
  return target
end

local loaded = package.loaded
local module = loaded["socket"] or loaded["socket.core"] or {}
module.dns = fill(module.dns or {}, dns)
fill(module, socket)
helpers(module)
loaded["socket"], loaded["socket.core"] = module, module

--- A call of the table itself makes a stream.
local unix_module = fill(loaded["socket.unix"] or {}, unix)
unix_module.__call = unix.stream
loaded["socket.unix"] = setmetatable(unix_module, unix_module)

install_ssl()

return module
