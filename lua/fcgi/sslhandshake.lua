--- fcgi.sslhandshake -- sock:sslhandshake: TLS for a client that wants to know
--- to whom it speaks.
-- SPDX-License-Identifier: MIT
local hostname = require "fcgi.hostname"
local misuse = require "fcgi.misuse"
local tls = require "fcgi.tls"
local _, private = ...

--- Contexts that are kept; each may have all certificates of a store in memory.
local CONTEXTS_MAX = 64

-- --- options -----------------------------------------------------------------

--- What there is, by type.
local known = {
  cafile = "string", capath = "string", certificate = "string",
  key = "string", password = "string", ciphers = "string",
  ciphersuites = "string", alpn = "table",
}
local names = {}
for name in pairs(known) do
  names[#names + 1] = name
end
table.sort(names)

local function check_type(name, wanted, value)
  if type(value) ~= wanted then
    misuse.raise(("bad option '%s' (%s expected, got %s)"):format(name, wanted,
      type(value)))
  end
end

local function check_option(name, value)
  local wanted = known[name]
  if not wanted then
    misuse.raise(("sslhandshake has no option '%s'"):format(tostring(name)))
  elseif name == "alpn" and type(value) == "string" then
    return
  end
  check_type(name, wanted, value)
  if name == "alpn" then
    for _, protocol in ipairs(value) do
      check_type(name, "string", protocol)
    end
  end
end

local function check_options(options)
  if options == nil then
    return {}
  elseif type(options) ~= "table" then
    misuse.bad_type(4, "sslhandshake", "table", options)
  end
  for name, value in pairs(options) do
    check_option(name, value)
  end
  return options
end

-- --- whom we trust -----------------------------------------------------------

--- Where systems keep the certificates of authorities in one file.
local bundles = {
  "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
}
local STORE = "/etc/ssl/certs"

--- OpenSSL takes what it needs from a folder with hashed names, and reads the
--- whole of a file, which takes it a tenth of a second.
---@return string? cafile
---@return string? capath
local function system_store()
  if private.is_hashed(STORE) then
    return nil, STORE
  end
  for _, path in ipairs(bundles) do
    local file = io.open(path)
    if file then
      file:close()
      return path
    end
  end
  return nil, STORE
end

local function from_environment(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

---@return string? cafile
---@return string? capath
local function store_of(options)
  local file, path = options.cafile, options.capath
  if not file and not path then
    file = from_environment "SSL_CERT_FILE"
    path = from_environment "SSL_CERT_DIR"
  end
  if not file and not path then
    return system_store()
  end
  return file, path
end

-- --- contexts ----------------------------------------------------------------

--- All that a context depends on but whether it verifies, as one string.
local function key_of(options)
  local file, path = store_of(options)
  local parts = { file or false, path or false }
  for _, name in ipairs(names) do
    local value = options[name]
    if type(value) == "table" then
      value = table.concat(value, "\0")
    end
    parts[#parts + 1] = value or false
  end
  for i, part in ipairs(parts) do
    parts[i] = part and ("%d:%s"):format(#part, part) or "-"
  end
  return table.concat(parts, " ")
end

local contexts, context_count = {}, 0

--- Verification goes on after an error, so that we can say which it was: the
--- handshake counts only when nothing was wrong.  A server that wants to
--- negotiate again is told no.
local function new_context(options, verify)
  local file, path
  if verify then
    file, path = store_of(options)
  end
  return require "ssl".newcontext {
    mode = "client",
    protocol = "any",
    options = {
      "all", "no_sslv2", "no_sslv3", "no_tlsv1", "no_tlsv1_1",
      "no_compression", "no_renegotiation",
    },
    verify = verify and "peer" or "none",
    verifyext = verify and "lsec_continue" or nil,
    cafile = file,
    capath = path,
    certificate = options.certificate,
    key = options.key,
    password = options.password,
    ciphers = options.ciphers,
    ciphersuites = options.ciphersuites,
    alpn = options.alpn,
  }
end

local function find_context(options, verify, key)
  key = tostring(verify) .. " " .. key
  if contexts[key] then
    return contexts[key]
  end
  local context, err = new_context(options, verify)
  if not context then
    return nil, err
  end
  if context_count == CONTEXTS_MAX then
    contexts, context_count = {}, 0
  end
  contexts[key], context_count = context, context_count + 1
  return context
end

-- --- the handshake -----------------------------------------------------------

--- LuaSec's errors of a chain are lists by depth, from 1; of those that are
--- nearest to the peer's own certificate the first.
local function first_error(errors)
  if type(errors) ~= "table" then
    return tostring(errors)
  end
  local nearest
  for depth in pairs(errors) do
    nearest = math.min(nearest or depth, depth)
  end
  return nearest and errors[nearest][1] or "unknown error"
end

local function verify_peer(conn, name)
  local ok, errors = conn:getpeerverification()
  if not ok then
    return nil, "certificate verify failed: " .. first_error(errors)
  end
  local certificate = conn:getpeercertificate()
  if not certificate then
    return nil, "certificate verify failed: the peer has sent none"
  end
  return hostname.check(name, certificate:extensions())
end

--- However a handshake ends early, by an error or a cancellation: after it
--- nothing can be read or written on that connection.
local Attempt = {}

function Attempt:__close()
  if not self.is_done then
    self.sock:close()
  end
end

local function shake_hands(sock, context, name, verify, key)
  local attempt <close> = setmetatable({ sock = sock }, Attempt)
  local layer, ok, err
  layer, err = tls.wrap(sock, context)
  if not layer then
    return nil, err
  end
  if name ~= "" and not hostname.address(name) then
    layer.conn:sni(hostname.normal(name))
  end
  ok, err = layer:handshake(private.connect_limit(sock))
  if ok and verify then
    ok, err = verify_peer(layer.conn, name)
  elseif not ok and err ~= "timeout" and err ~= "closed" then
    err = "handshake failed: " .. err
  end
  if not ok then
    return nil, err
  end
  layer.name, layer.is_verified, layer.key = name, verify, key
  attempt.is_done = true
  return true, layer.conn:getalpn()
end

--- The host that it was connected to; an address; "" for a unix socket.
local function name_of(sock)
  local address, _, family = sock:getpeername()
  return private.host_of(sock) or family ~= "unix" and address or ""
end

--- A socket that was encrypted before, and comes from a pool.  Without a name
--- it is the one of whoever put it there.  Other options may mean that other
--- authorities are trusted, or that the server knows us as somebody else.
local function again(layer, name, verify, key)
  if not layer.is_up then
    return nil, "socket busy connecting"
  elseif layer.key and layer.key ~= key then -- none: LuaSec's own wrap
    return nil, "encrypted with other options"
  elseif verify and not layer.is_verified then
    return nil, "encrypted, but not verified"
  elseif verify and name
    and hostname.normal(layer.name) ~= hostname.normal(name) then
    return nil, "encrypted for another name"
  end
  return true, layer.conn:getalpn()
end

local function check_arguments(name, verify)
  local is_there, err = pcall(require, "ssl")
  if not is_there then
    misuse.raise("sslhandshake needs LuaSec (in Debian: lua-sec): " .. err)
  elseif name ~= nil and type(name) ~= "string" then
    misuse.bad_type(2, "sslhandshake", "string", name)
  elseif verify ~= nil and type(verify) ~= "boolean" then
    misuse.bad_type(3, "sslhandshake", "boolean", verify)
  end
end

--- LuaSec keeps no sessions: whatever is given for one is as good as nil.
---@param name? string
---@param verify? boolean
---@param options? table
---@return true? session
---@return string? alpn or the error
return function(sock, _, name, verify, options)
  local fd = sock:getfd()
  check_arguments(name, verify)
  options = check_options(options)
  verify = verify ~= false
  if fd < 0 then
    return nil, "closed"
  end
  local layer, key = private.tls_of(sock), key_of(options)
  if layer then
    return again(layer, name, verify, key)
  end
  name = name or name_of(sock)
  if verify and name == "" then
    misuse.bad_argument(2, "sslhandshake", "a name is needed to verify a "
      .. "certificate")
  end
  local busy = private.busy(sock)
  if busy then
    return nil, busy -- and the socket stays open
  end
  local context, err = find_context(options, verify, key)
  if not context then
    return nil, err
  end
  return shake_hands(sock, context, name, verify, key)
end
