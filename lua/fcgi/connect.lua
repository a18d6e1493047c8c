--- fcgi.connect -- connecting sockets: to an address, by name, to a unix socket.
-- SPDX-License-Identifier: MIT

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

--- Level 3: the error names the line of the script.
local function check_seconds(seconds, name)
  if seconds ~= nil and (type(seconds) ~= "number" or seconds ~= seconds) then
    error(("bad option '%s' (a number of seconds expected, got %s)"):format(
      name, type(seconds)), 3)
  end
end

---@param fcgi table the module
---@param private table see lua_socket.h
return function(fcgi, private)
  local tcp, methods = private.tcp, private.methods
  local connect_address = private.connect_address
  local is_address = private.is_address

  --- Tries the addresses of a name in turn.
  local function connect_name(_, host)
    return nil, "host not found: " .. host
  end

  --- sock:connect(host, port) or sock:connect("unix:/path")
  function methods.connect(self, host, port)
    if port ~= nil then
      if type(host) == "string" and not is_address(host) then
        return connect_name(self, host, port)
      end
      return connect_address(self, host, port)
    end
    local path = type(host) == "string" and host:match "^unix:(.+)$"
    if not path then
      error("bad argument #1 to 'connect' (a host and a port, or "
        .. "unix:/path expected)", 2)
    end
    return connect_address(self, path)
  end

  function fcgi.tcp()
    return tcp()
  end

  function fcgi.connect(address, options)
    if type(address) ~= "string" then
      error(("bad argument #1 to 'connect' (string expected, got %s)"):format(
        type(address)), 2)
    elseif options ~= nil and type(options) ~= "table" then
      error(("bad argument #2 to 'connect' (table expected, got %s)"):format(
        type(options)), 2)
    end
    local host, port = parse(address)
    if not host then
      error("bad argument #1 to 'connect' (HOST:PORT, [V6]:PORT or "
        .. "unix:/PATH expected)", 2)
    end
    local sock = tcp()
    if options then
      check_seconds(options.timeout, "timeout")
      sock:settimeout(options.timeout)
    end
    local ok, err
    if port and not is_address(host) then
      ok, err = connect_name(sock, host, port)
    else
      ok, err = connect_address(sock, host, port)
    end
    if not ok then
      return nil, err
    end
    return sock
  end
end
