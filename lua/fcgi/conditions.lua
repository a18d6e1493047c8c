--- fcgi.conditions -- what a request says about the version of a file that it
--- wants, and about the part of it: conditions and ranges (RFC 9110, 13 and 14).
--- Clients choose these headers, so no pattern here can backtrack far: nothing
--- costs more than its length.
-- SPDX-License-Identifier: MIT
local tools = require "fcgi.tools"

local conditions = {}

local months = {}
for i, name in ipairs { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
  "Sep", "Oct", "Nov", "Dec" } do
  months[name] = i
end

--- Days from 1970-01-01 (the civil calendar, by whole eras of 400 years).
local function days(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  return 365 * year + year // 4 - year // 100 + year // 400
    + (153 * (month - 3) + 2) // 5 + day - 719469
end

--- The time that an HTTP date names; nil when it is none: no such day or hour
--- either, and not the two old forms, which nobody sends.  Then the file is
--- sent.
---@param text? string
---@return integer? seconds since the epoch
function conditions.date(text)
  local day, month, year, hour, min, sec = (text or ""):match(
    "^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  if not months[month] or year == "0000" then
    return nil
  end
  local time = days(math.tointeger(year), months[month], math.tointeger(day))
    * 86400 + hour * 3600 + min * 60 + sec
  local is_date, same = pcall(tools.date, time)
  return is_date and same == text and time or nil
end

--- Is the tag in the list?  weakly: a weak one may be the same, too.
local function has_tag(list, etag, weakly)
  if list:find("^%s*%*%s*$") then
    return true
  elseif not etag then
    return false
  end
  for weak, tag in list:gmatch('(W?/?)("[^"]*")') do
    if tag == etag and (weak == "" or weakly) then
      return true
    end
  end
  return false
end

--- What the conditions of a request make of it: 304, 412, or nil for the file
--- (RFC 9110, 13.2.2).
---@param req fcgi.Request
---@param about { mtime: integer, etag: string? } the tag with its quotes
---@return integer?
function conditions.judge(req, about)
  local match, none = req:header("If-Match"), req:header("If-None-Match")
  local mtime = about.mtime
  if match then
    if not has_tag(match, about.etag, false) then return 412 end
  else
    local since = conditions.date(req:header("If-Unmodified-Since"))
    if since and mtime > since then return 412 end
  end
  if none then
    if has_tag(none, about.etag, true) then return 304 end
  else
    local since = conditions.date(req:header("If-Modified-Since"))
    if since and mtime <= since then return 304 end
  end
  return nil
end

--- Offsets of digits that may be too long for a number.
local function offset(digits)
  return #digits > 18 and math.maxinteger or math.tointeger(digits)
end

--- The digits on both sides of the dash of a single range; nil: it is none.
--- In steps, because two runs of blanks with nothing sure between them would
--- be tried in every way.
local function read_range(text)
  local _, at = text:find("^%s*[Bb][Yy][Tt][Ee][Ss]%s*=%s*")
  if not at then
    return nil
  end
  local from, to, behind = text:match("^(%d*)%s*%-%s*(%d*)()", at + 1)
  if not from or from == "" and to == "" or not text:find("^%s*$", behind) then
    return nil
  end
  return from, to
end

--- The range that a header asks for: first and last; false when there is none
--- in the file; nil when the whole is to be sent: it is no range, several of
--- them, or of another version of the file (RFC 9110, 14.2).
---@param req fcgi.Request
---@param about { size: integer, mtime: integer, etag: string? }
---@return integer|false|nil first
---@return integer? last
function conditions.range(req, about)
  local range, condition = req:header("Range"), req:header("If-Range")
  if not range then
    return nil
  elseif condition and condition ~= about.etag
    and conditions.date(condition) ~= about.mtime then
    return nil
  end
  local from, to = read_range(range)
  if not from then
    return nil
  elseif from == "" then
    local last = offset(to)
    if last == 0 or about.size == 0 then return false end
    return math.max(0, about.size - last), about.size - 1
  end
  local first, last = offset(from), to == "" and about.size - 1 or offset(to)
  if to ~= "" and last < first then
    return nil
  elseif first >= about.size then
    return false
  end
  return first, math.min(last, about.size - 1)
end

return conditions
