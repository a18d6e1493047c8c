--- fcgi.ngx.socket -- `ngx.socket`: the gateway's sockets with OpenResty's
--- meanings.  Times are in milliseconds, a connect closes what was connected
--- before, nothing is verified by a TLS handshake unless it is asked for.
-- SPDX-License-Identifier: MIT
local misuse = require "fcgi.misuse"

--- What OpenResty takes where nothing, or 0, is said of a time.
local TIMEOUT = 60000

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

---@param private table see lua_socket.h
---@return table socket the table ngx.socket
return function(private)
  local own, methods = private.methods, private.ngx_methods
  for name, method in pairs(own) do
    methods[name] = method
  end
  methods.receive = private.receive_bytes -- or Lua would be called for it

  function methods:settimeout(ms)
    own.settimeout(self, to_seconds(ms, 1, "settimeout"))
  end

  function methods:settimeouts(connect, send, receive)
    own.settimeouts(self, to_seconds(connect, 1, "settimeouts"),
      to_seconds(send, 2, "settimeouts"),
      to_seconds(receive, 3, "settimeouts"))
  end

  --- connect(host, port[, options]) or connect("unix:/path"[, options])
  function methods:connect(host, port, options)
    if own.getfd(self) >= 0 then
      own.close(self)
    end
    if options == nil and type(port) ~= "table" then
      return own.connect(self, host, port)
    end
    return own.connect(self, host, port, options)
  end

  function methods:close()
    if own.getfd(self) < 0 then
      return nil, "closed"
    end
    return own.close(self)
  end

  --- 0: for any time; nothing: 60 s
  function methods:setkeepalive(ms, size)
    check_time(ms, 1, "setkeepalive")
    return own.setkeepalive(self, ms and ms / 1000, size)
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
