--- fcgi.ngx.socket -- `ngx.socket`: the gateway's sockets with OpenResty's
--- meanings.  Times are in milliseconds, a connect closes what was connected
--- before, nothing is verified by a TLS handshake unless it is asked for.
-- SPDX-License-Identifier: MIT
local misuse = require "fcgi.misuse"

--- What OpenResty takes where nothing, or 0, is said of a time.
local TIMEOUT = 60000

--- Options that OpenResty has other names for, and those that are yes or no.
local option_names = {
  sndbuf = "send-buffer-size", rcvbuf = "recv-buffer-size",
}
local switches = {
  keepalive = true, reuseaddr = true, ["tcp-nodelay"] = true,
}

--- Of sockets for datagrams the part that OpenResty has, around one of fcgi.
local Datagrams = { __name = "ngx.socket.udp" }
Datagrams.__index = Datagrams

local function check_time(ms, position, name)
  if ms ~= nil and type(ms) ~= "number" then
    misuse.bad_type(position, name, "number", ms)
  elseif ms and not (ms >= 0 and ms < 1 << 31) then
    misuse.bad_argument(position, name, "bad timeout value")
  end
end

local function to_seconds(ms, position, name)
  check_time(ms, position, name)
  return (ms and ms > 0 and ms or TIMEOUT) / 1000
end

function Datagrams:setpeername(host, port)
  if self.sock:getfd() >= 0 then
    self.sock:close()
  end
  return self.sock:setpeername(host, port)
end

function Datagrams:send(data)
  return self.sock:send(data)
end

--- Without a size any datagram is received.
function Datagrams:receive(size)
  return self.sock:receive(size)
end

function Datagrams:settimeout(ms)
  self.sock:settimeout(to_seconds(ms, 1, "settimeout"))
end

function Datagrams:close()
  if self.sock:getfd() < 0 then
    return nil, "closed"
  end
  return self.sock:close()
end

Datagrams.__close = Datagrams.close

---@param fcgi table the module
---@param private table see lua_socket.h
---@return table socket the table ngx.socket
return function(fcgi, private)
  local own, methods = private.methods, private.ngx_methods
  local getfd, close, connect = own.getfd, own.close, own.connect
  local setkeepalive = own.setkeepalive
  for name, method in pairs(own) do
    methods[name] = method
  end
  methods.receive = private.receive_bytes -- or Lua would be called for it

  function methods:settimeout(ms)
    own.settimeout(self, to_seconds(ms, 1, "settimeout"))
  end

  function methods:settimeouts(connecting, sending, receiving)
    own.settimeouts(self, to_seconds(connecting, 1, "settimeouts"),
      to_seconds(sending, 2, "settimeouts"),
      to_seconds(receiving, 3, "settimeouts"))
  end

  --- OpenResty takes 1 and 0 for yes and no.
  function methods:setoption(name, value)
    if switches[name] and type(value) == "number" then
      value = value ~= 0
    end
    return own.setoption(self, option_names[name] or name, value)
  end

  function methods:getoption(name)
    return own.getoption(self, option_names[name] or name)
  end

  --- connect(host, port[, options]) or connect("unix:/path"[, options])
  function methods:connect(host, port, options)
    if getfd(self) >= 0 then
      close(self)
    end
    return connect(self, host, port, options)
  end

  function methods:close()
    if getfd(self) < 0 then
      return nil, "closed"
    end
    return close(self)
  end

  --- 0: for any time; nothing: 60 s
  function methods:setkeepalive(ms, size)
    check_time(ms, 1, "setkeepalive")
    return setkeepalive(self, ms and ms / 1000, size)
  end

  --- OpenSSL's sessions cannot be had here: what is asked for, and what is
  --- given, is true.  A certificate status is not asked for.
  function methods:sslhandshake(_, name, verify)
    local ok, err = own.sslhandshake(self, nil, name or nil, verify == true)
    if not ok then
      return nil, err
    end
    return true
  end

  local socket = { tcp = private.ngx_tcp, stream = private.ngx_tcp }

  function socket.udp()
    local self = setmetatable({ sock = fcgi.udp() }, Datagrams)
    self:settimeout()
    return self
  end

  --- socket.tcp and connect in one.
  function socket.connect(...)
    local sock = private.ngx_tcp()
    local ok, err = sock:connect(...)
    if not ok then
      return nil, err
    end
    return sock
  end

  return socket
end
