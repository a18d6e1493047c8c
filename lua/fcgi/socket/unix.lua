--- fcgi.socket.unix -- LuaSocket's socket.unix: its sockets take bare paths.
-- SPDX-License-Identifier: MIT
local fcgi = require "fcgi"
local _, private = ...

-- --- streams -----------------------------------------------------------------

local methods, own = private.methods, private.unix_methods

for name, method in pairs(methods) do
  own[name] = method
end

local connect, bind = methods.connect, methods.bind

function own.connect(self, path)
  return connect(self, "unix:" .. path)
end

function own.bind(self, path)
  return bind(self, "unix:" .. path)
end

-- --- datagrams ---------------------------------------------------------------

--- A socket of datagrams whose addresses are paths.
local Dgram = {}
Dgram.__index = {}

local function to_address(path)
  return path and path ~= "*" and "unix:" .. path or path
end

--- Which argument of a method is a path.
local places = { setsockname = 1, setpeername = 1, sendto = 2 }

--- LuaSocket's names, and those of fcgi.udp where they differ.
local names = {
  bind = "setsockname", close = "close", connect = "setpeername",
  dirty = "dirty", getfd = "getfd", getsockname = "getsockname",
  gettimeout = "gettimeout", receive = "receive", receivefrom = "receivefrom",
  send = "send", sendto = "sendto", setfd = "setfd", setoption = "setoption",
  setpeername = "setpeername", settimeout = "settimeout",
}

for name, other in pairs(names) do
  local place = places[other]
  Dgram.__index[name] = function(self, ...)
    local args = table.pack(...)
    if place then
      args[place] = to_address(args[place])
    end
    return self.sock[other](self.sock, table.unpack(args, 1, args.n))
  end
end

Dgram.__close = Dgram.__index.close

local unix = {}

function unix.stream()
  return private.unix()
end

function unix.dgram()
  return setmetatable({ sock = fcgi.udp() }, Dgram)
end

unix.tcp, unix.udp = unix.stream, unix.dgram

return unix
