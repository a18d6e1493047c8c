--- fcgi.socket.ssl -- LuaSec's ssl.wrap for our sockets: ssl.https and others
--- that use it block nobody.
---
--- What it gives has LuaSec's functions, results and errors: its verification,
--- too, is what the parameters say, and none by default.
-- SPDX-License-Identifier: MIT
local tls = require "fcgi.tls"
local _, private = ...

local Connection = { __name = "SSL:Connection" }
local methods = {}
Connection.__index = methods

-- --- by the socket -----------------------------------------------------------

for _, name in ipairs {
  "dirty", "getfd", "getpeername", "getsockname", "getstats", "gettimeout",
  "setstats", "settimeout", "shutdown",
} do
  methods[name] = function(self, ...)
    return self.sock[name](self.sock, ...)
  end
end

--- LuaSec does not say "timeout".
local function name_timeout(want, ok, err, ...)
  if not ok and err == "timeout" then
    err = want
  end
  return ok, err, ...
end

function methods:receive(...)
  return name_timeout("wantread", self.sock:receive(...))
end

function methods:send(...)
  return name_timeout("wantwrite", self.sock:send(...))
end

function methods:close()
  self.sock:close()
end

Connection.__close = methods.close

-- --- by LuaSec ---------------------------------------------------------------

for _, name in ipairs {
  "exportkeyingmaterial", "getalpn", "getfinished", "getpeercertificate",
  "getpeerchain", "getpeerfinished", "getpeerverification", "getsniname",
  "info", "setdane", "settlsa", "sni", "want",
} do
  methods[name] = function(self, ...)
    local conn = self.layer.conn
    if not conn then
      return nil, "closed"
    end
    return conn[name](conn, ...)
  end
end

function methods:dohandshake()
  local ok, err, want = self.layer:handshake(private.connect_limit(self.sock))
  if ok then
    return true
  end
  return false, err == "timeout" and want or err
end

-- --- into place --------------------------------------------------------------

local function is_ours(sock)
  return (pcall(private.tls_of, sock))
end

local function wrap(sock, context)
  local layer, err = tls.wrap(sock, context)
  if not layer then
    return nil, err
  end
  return setmetatable({ sock = sock, layer = layer }, Connection)
end

local function patch(ssl)
  local original = ssl.wrap
  function ssl.wrap(sock, params)
    if not is_ours(sock) then
      return original(sock, params)
    elseif type(params) ~= "table" then
      return wrap(sock, params)
    end
    local context, err = ssl.newcontext(params)
    if not context then
      return nil, err
    end
    return wrap(sock, context)
  end
  return ssl
end

--- Loads LuaSec's module as require would, without us.
local function load_luasec(us, name)
  local tried = {}
  for _, searcher in ipairs(package.searchers) do
    local loader, data = searcher(name)
    if type(loader) == "function" and loader ~= us then
      return loader(name, data)
    elseif type(loader) == "string" then
      tried[#tried + 1] = "\n\t" .. loader
    end
  end
  error(("module '%s' not found:%s"):format(name, table.concat(tried)), 0)
end

local is_installed = false

--- Not before somebody wants LuaSec it is loaded: it is large.
return function()
  if is_installed then
    return
  end
  is_installed = true
  if package.loaded.ssl then
    patch(package.loaded.ssl)
    return
  end
  local function loader(name)
    return patch(load_luasec(package.preload.ssl, name))
  end
  package.preload.ssl = loader
end
