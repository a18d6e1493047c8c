--- fcgi.ngx.hash -- digests over luaossl, which is loaded when the first one is
--- asked for.
-- SPDX-License-Identifier: MIT
local misuse = require "fcgi.misuse"
local to_text = require "fcgi.ngx.text".to_text

local hash = {}

---@param what string that needs it
local function load_luaossl(module, what)
  local ok, loaded = pcall(require, module)
  if ok then
    return loaded
  elseif type(loaded) ~= "string" then
    error(loaded, 0) -- a cancellation
  end
  misuse.raise(("%s needs luaossl (Debian: lua-luaossl): %s"):format(what,
    loaded:match("^[^\n]*")))
end

local function to_hex(s)
  return (s:gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end))
end
hash.to_hex = to_hex

local digests

local function digest(kind, s, what)
  digests = digests or load_luaossl("openssl.digest", what)
  return digests.new(kind):final(to_text(s))
end

function hash.md5_bin(s)
  return (digest("md5", s, "ngx.md5_bin"))
end

function hash.md5(s)
  return to_hex(digest("md5", s, "ngx.md5"))
end

function hash.sha1_bin(s)
  return (digest("sha1", s, "ngx.sha1_bin"))
end

local hmacs

function hash.hmac_sha1(key, s)
  hmacs = hmacs or load_luaossl("openssl.hmac", "ngx.hmac_sha1")
  return hmacs.new(to_text(key), "sha1"):final(to_text(s))
end

-- --- the modules of lua-resty-string ----------------------------------------

--- One of resty.md5, resty.sha1 ...: new() gives an object with update(s),
--- final() and reset().
---@param kind string as OpenSSL names it
function hash.module(kind)
  local Digest = {}
  Digest.__index = Digest
  local what = "resty." .. kind

  function Digest.new()
    digests = digests or load_luaossl("openssl.digest", what)
    return setmetatable({ state = digests.new(kind) }, Digest)
  end

  function Digest:update(s)
    self.state:update(s)
    return true
  end

  --- The bytes; the object then begins anew.
  function Digest:final()
    local bytes = self.state:final()
    self.state = digests.new(kind)
    return bytes
  end

  function Digest:reset()
    self.state = digests.new(kind)
    return true
  end

  return Digest
end

hash.kinds = { "md5", "sha1", "sha224", "sha256", "sha384", "sha512" }

--- The module resty.string.
hash.string = { to_hex = to_hex }

--- A decimal number at the start of a string, as C's atoi.
function hash.string.atoi(s)
  return math.tointeger(tonumber(s:match("^%s*([+-]?%d+)"))) or 0
end

return hash
