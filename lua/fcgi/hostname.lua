--- fcgi.hostname -- whether a certificate is for a host (RFC 6125, RFC 9525).
---
--- Only the names under "subject alternative name" count, as for browsers: a
--- name in the subject's common name has not been one for long.
-- SPDX-License-Identifier: MIT
local hostname = {}

local ALTERNATIVE_NAME = "2.5.29.17" -- as LuaSec lists extensions

--- An IPv4 address as four bytes; nil for anything else.
local function ipv4_bytes(text)
  local bytes = { text:match "^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$" }
  if #bytes == 0 then
    return nil
  end
  for i = 1, 4 do
    bytes[i] = tonumber(bytes[i])
    if bytes[i] > 255 then
      return nil
    end
  end
  return string.char(table.unpack(bytes))
end

--- Groups of hexadecimal digits as bytes.
local function group_bytes(text)
  local out = {}
  for group in (text == "" and "" or text .. ":"):gmatch "([^:]*):" do
    if not group:find "^%x%x?%x?%x?$" then
      return nil
    end
    out[#out + 1] = (">I2"):pack(tonumber(group, 16))
  end
  return table.concat(out)
end

--- An IPv6 address as 16 bytes; nil for anything else.
local function ipv6_bytes(text)
  text = text:gsub(":([%d.]+)$", function(quad)
    local bytes = ipv4_bytes(quad)
    return bytes and (":%x:%x"):format((">I2I2"):unpack(bytes))
  end)
  local front, back = text:match "^(.-)::(.*)$"
  if not front then
    local bytes = group_bytes(text)
    return bytes and #bytes == 16 and bytes or nil
  end
  front, back = group_bytes(front), group_bytes(back)
  if not front or not back or #front + #back > 14 then
    return nil
  end
  return front .. ("\0"):rep(16 - #front - #back) .. back
end

--- The bytes of an address, so that all ways to write it are one.
---@return string? bytes nil: it is no address
function hostname.address(text)
  return ipv4_bytes(text) or ipv6_bytes((text:gsub("%%.*$", "")))
end

--- Without the dot at the end that says that a name is complete.
function hostname.normal(name)
  return (name:lower():gsub("%.$", ""))
end

--- A wildcard stands for the whole first label, before two others at least.
local function matches(pattern, name)
  pattern = hostname.normal(pattern)
  if pattern == name then
    return name ~= "" and not pattern:find("*", 1, true)
  end
  local rest = pattern:match "^%*(%.[^*]+%.[^*.]+)$"
  local label, domain = name:match "^([^.]+)(%..+)$"
  return rest ~= nil and rest == domain and label ~= nil
end

local function names(extensions, kind)
  local extension = extensions and extensions[ALTERNATIVE_NAME]
  return extension and extension[kind] or {}
end

--- The names that a certificate has, for people.
local function list(extensions)
  local all = {}
  for _, kind in ipairs { "dNSName", "iPAddress" } do
    for _, name in ipairs(names(extensions, kind)) do
      if #all == 3 then
        return table.concat(all, ", ") .. ", ..."
      end
      all[#all + 1] = (tostring(name):gsub("[^%w.:*_-]", "?"))
    end
  end
  return all[1] and table.concat(all, ", ") or "no host"
end

--- Is a certificate with these extensions, as LuaSec gives them, for that host?
---@param name string a host name or an address
---@param extensions table?
---@return boolean? yes
---@return string? err
function hostname.check(name, extensions)
  local address = hostname.address(name)
  if address then
    for _, other in ipairs(names(extensions, "iPAddress")) do
      if hostname.address(other) == address then
        return true
      end
    end
  else
    local wanted = hostname.normal(name)
    for _, pattern in ipairs(names(extensions, "dNSName")) do
      if matches(pattern, wanted) then
        return true
      end
    end
  end
  return nil, ("host name does not match: the certificate is for %s, not %s")
    :format(list(extensions), name)
end

return hostname
