--- fcgi.ngx.time -- times as nginx writes and reads them.
-- SPDX-License-Identifier: MIT
local date = require "fcgi.tools".date

local time = {}

--- os.date would name them in the language of the locale.
local months = {
  Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6,
  Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12,
}

--- "2024-02-29", in the process's time zone
function time.today()
  return os.date("%Y-%m-%d") --[[@as string]]
end

--- "2024-02-29 12:00:00"
function time.localtime()
  return os.date("%Y-%m-%d %H:%M:%S") --[[@as string]]
end

function time.utctime()
  return os.date("!%Y-%m-%d %H:%M:%S") --[[@as string]]
end

--- "Thu, 18 Nov 2010 11:27:35 GMT"
---@param seconds number since 1970
function time.http_time(seconds)
  return date(seconds)
end

--- "Thu, 18-Nov-10 11:27:35 GMT"; as nginx, with four digits from 2038 on.
---@param seconds number since 1970
function time.cookie_time(seconds)
  local name, day, month, year, clock =
    date(seconds):match("^(%a+), (%d+) (%a+) (%d+) ([%d:]+)")
  if tonumber(year) < 2038 then
    year = year:sub(3)
  end
  return ("%s, %s-%s-%s %s GMT"):format(name, day, month, year, clock)
end

--- Days from 1970 to a day of the (proleptic) Gregorian calendar: years begin in
--- March, so that a leap day is the last of its year.
local function days_to(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  return 365 * year + year // 4 - year // 100 + year // 400 +
    (153 * (month - 3) + 2) // 5 + day - 719469
end

--- The three forms of RFC 9110, 5.6.7.
local forms = {
  { "^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$",
    function(day, month, year, ...) return year, month, day, ... end },
  { "^%a+, (%d%d)%-(%a%a%a)%-(%d%d) (%d%d):(%d%d):(%d%d) GMT$",
    function(day, month, year, ...)
      year = tonumber(year)
      return year + (year < 70 and 2000 or 1900), month, day, ...
    end },
  { "^%a%a%a (%a%a%a) ([ %d]%d) (%d%d):(%d%d):(%d%d) (%d%d%d%d)$",
    function(month, day, hour, minute, second, year)
      return year, month, day, hour, minute, second
    end },
}

local function to_seconds(year, month, day, hour, minute, second)
  month = months[month]
  year, day, hour = tonumber(year), tonumber(day), tonumber(hour)
  minute, second = tonumber(minute), tonumber(second)
  if not month or day < 1 or hour > 23 or minute > 59 or second > 60 then
    return nil
  end
  local next_month = month < 12 and days_to(year, month + 1, 1) or
    days_to(year + 1, 1, 1)
  if day > next_month - days_to(year, month, 1) then
    return nil
  end
  return ((days_to(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
end

--- Seconds since 1970, or nil when that is no such time.
---@param s string
---@return integer?
function time.parse_http_time(s)
  for _, form in ipairs(forms) do
    local pattern, order = form[1], form[2]
    if s:find(pattern) then
      return to_seconds(order(s:match(pattern)))
    end
  end
  return nil
end

return time
