--- fcgi.connect -- connecting sockets: to an address, by name, to a unix socket.
-- SPDX-License-Identifier: MIT
local misuse = require "fcgi.misuse"
local new_pooled = require "fcgi.pool"
local getuservalue = debug.getuservalue

--- Seconds for an address of a name that has more of them, where nobody has set
--- a limit: the system would try a dead one for two minutes.
local PATIENCE = 10

--- "host:port", "[v6]:port" or "unix:/path"; nil for anything else.
---@return string? host or path
---@return integer? port nil: it is a path
local function parse(address)
  local path = address:match "^unix:(.+)$"
  if path then
    return path
  end
  local host, port = address:match "^%[([%x:.]+%%?[%w_.-]*)%]:(%d+)$"
  if not host then
    host, port = address:match "^([^:%[%]/%s]+):(%d+)$"
  end
  port = tonumber(port)
  if host and port <= 65535 then
    return host, port
  end
end

local function check_seconds(seconds, name)
  if type(seconds) ~= "number" or seconds ~= seconds then
    misuse.raise(("bad option '%s' (a number of seconds expected, got %s)")
      :format(name, type(seconds)))
  end
end

---@param fcgi table the module
---@param private table see lua_socket.h
return function(fcgi, private)
  local tcp, methods = private.tcp, private.methods
  local connect_address = private.connect_address
  local is_address, is_socket = private.is_address, private.is_socket
  local connect_limit, state_of = private.connect_limit, private.state_of
  local resolve, now = fcgi.resolve, fcgi.now
  local pool_connect = private.pool_connect
  local connect_pooled = new_pooled(private)

  --- Where sockets have connected to whose pool has another name.
  local places = setmetatable({}, { __mode = "k" })

  local function note_place(sock, address, options)
    if options and options.pool ~= nil then
      places[sock] = address
    elseif places[sock] then
      places[sock] = nil
    end
  end

  --- How long the next of so many addresses may take; nil: as the socket says.
  local function share(limit, deadline, count)
    if deadline then
      return math.max(deadline - now(), 0) / count
    elseif limit ~= 0 and count > 1 then
      return PATIENCE
    end
  end

  --- Tries the addresses of a name in turn.
  local function connect_name(self, host, port)
    local limit = connect_limit(self)
    local deadline = limit and limit > 0 and now() + limit
    local family, closings = state_of(self)
    local addresses, err = resolve(host, family, deadline and limit)
    if not addresses then
      return nil, err == "not found" and "host not found" or err
    end
    for i, address in ipairs(addresses) do
      if select(2, state_of(self)) ~= closings then
        return nil, "closed"
      end
      local ok
      ok, err = connect_address(self, address, port,
        share(limit, deadline, #addresses - i + 1))
      if ok or limit == 0 and err == "timeout" then -- then it goes on
        return ok, err
      end
    end
    return nil, err
  end

  --- A host and a port, or without a port the path of a unix socket.
  local function connect_to(self, host, port)
    if port and not is_address(host) then
      return connect_name(self, host, port)
    end
    return connect_address(self, host, port)
  end

  --- Raises unless a socket can be told to connect there; the port as a number.
  local function check_place(self, host, port)
    if not is_socket(self) then
      misuse.raise("bad self (write sock:connect, with a colon)")
    elseif type(host) ~= "string" then
      misuse.bad_type(1, "connect", "string", host)
    elseif port == nil then
      if not host:find "^unix:." then
        misuse.bad_argument(1, "connect", "a host and a port, or unix:/path "
          .. "expected")
      end
    else
      local number = math.tointeger(tonumber(port))
      if not number or number < 0 or number > 65535 then
        misuse.bad_argument(2, "connect", "not a port")
      end
      return number
    end
  end

  --- The pool for it that fcgi.connect's address names, too.
  local function pool_of(host, port)
    if host:find(":", 1, true) then
      return ("[%s]:%s"):format(host, port)
    end
    return host .. ":" .. port
  end

  --- sock:connect(host, port[, options]) or
  --- sock:connect("unix:/path"[, options])
  function methods.connect(self, host, port, options)
    if type(port) == "table" then
      port, options = nil, port
    elseif type(options) ~= "table" then
      options = nil -- the family that getsockname gives behind the port
    end
    port = check_place(self, host, port)
    if port == nil then
      places[self] = nil
      return connect_pooled(self, host, options, connect_to, host:sub(6))
    end
    local address = pool_of(host, port)
    note_place(self, address, options)
    return connect_pooled(self, address, options, connect_to, host, port)
  end

  --- The host that a socket has connected to, as it was given; nil: none.
  function private.host_of(sock)
    local host, port = parse(places[sock] or getuservalue(sock, 2) or "")
    return port and host
  end

  --- What it takes is loaded by whoever needs it.
  function methods.sslhandshake(...)
    methods.sslhandshake = require "fcgi.sslhandshake"
    return methods.sslhandshake(...)
  end

  function fcgi.tcp()
    return tcp(nil, true)
  end

  --- Nothing is read of the address of a connection that lies in its pool.
  local function connect_address_text(sock, address)
    local host, port = parse(address)
    if not host then
      misuse.bad_argument(1, "connect", "HOST:PORT, [V6]:PORT or unix:/PATH "
        .. "expected")
    end
    return connect_to(sock, host, port)
  end

  function fcgi.udp()
    return require "fcgi.udp"()
  end

  function fcgi.connect(address, options)
    local kept = pool_connect(address, options)
    if kept then
      return kept
    end
    if type(address) ~= "string" then
      misuse.bad_type(1, "connect", "string", address)
    elseif options ~= nil and type(options) ~= "table" then
      misuse.bad_type(2, "connect", "table", options)
    end
    local sock = tcp(nil, true)
    if options and options.timeout ~= nil then
      check_seconds(options.timeout, "timeout")
      sock:settimeout(options.timeout)
    end
    note_place(sock, address, options)
    local ok, err = connect_pooled(sock, address, options,
      connect_address_text, address)
    if not ok then
      return nil, err
    end
    return sock
  end
end
