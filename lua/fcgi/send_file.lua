--- fcgi.send_file -- req:send_file: a file as an answer, with what HTTP has for
--- files (RFC 9110): conditions, a range, validators.
-- SPDX-License-Identifier: MIT
local misuse = require "fcgi.misuse"
local mime = require "fcgi.mime"
local tools = require "fcgi.tools"

local check_self, pass_on = misuse.check_self, misuse.pass_on

local option_types = { type = "string", etag = true, root = "string" }

local function check_options(options)
  if options == nil then
    return {}
  elseif type(options) ~= "table" then
    error(("bad argument #2 to 'send_file' (table expected, got %s)"):format(
      type(options)), 3)
  end
  for name, value in pairs(options) do
    local wanted = option_types[name]
    if not wanted then
      error(("bad argument #2 to 'send_file' (unknown option '%s': type, etag "
        .. "or root)"):format(tostring(name)), 3)
    elseif wanted ~= true and type(value) ~= wanted then
      error(("bad argument #2 to 'send_file' (%s: %s expected, got %s)"):format(
        name, wanted, type(value)), 3)
    elseif name == "etag" and value ~= false and (type(value) ~= "string"
        or value:find('[^\33\35-\126\128-\255]')) then
      error("bad argument #2 to 'send_file' (etag: false, or a string without "
        .. "quotes, blanks and control bytes expected)", 3)
    end
  end
  return options
end

-- --- validators ----------------------------------------------------------

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

--- The time that an HTTP date names; nil when it is none.  The two old forms
--- are taken for none: nobody sends them, and then the file is sent.
local function parse_date(text)
  local day, month, year, hour, min, sec = (text or ""):match(
    "^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  if not day or not months[month] then
    return nil
  end
  return days(tonumber(year), months[month], tonumber(day)) * 86400
    + hour * 3600 + min * 60 + sec
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
local function judge(req, about)
  local match, none = req:header("If-Match"), req:header("If-None-Match")
  local mtime = about.mtime
  if match then
    if not has_tag(match, about.etag, false) then return 412 end
  else
    local since = parse_date(req:header("If-Unmodified-Since"))
    if since and mtime > since then return 412 end
  end
  if none then
    if has_tag(none, about.etag, true) then return 304 end
  else
    local since = parse_date(req:header("If-Modified-Since"))
    if since and mtime <= since then return 304 end
  end
end

-- --- ranges --------------------------------------------------------------

--- Offsets of digits that may be too long for a number.
local function offset(digits)
  return #digits > 18 and math.maxinteger or math.tointeger(tonumber(digits))
end

--- The range that a header asks for: first and last; false when there is none
--- in the file; nil when the whole is to be sent: it is no range, several of
--- them, or of another version of the file (RFC 9110, 14.2).
local function range_of(req, about)
  local range, condition = req:header("Range"), req:header("If-Range")
  if not range then
    return nil
  elseif condition and condition ~= about.etag
    and parse_date(condition) ~= about.mtime then
    return nil
  end
  local from, to = range:match("^%s*[Bb][Yy][Tt][Ee][Ss]%s*=%s*(%d*)%s*%-%s*(%d*)%s*$")
  if not from or from == "" and to == "" then
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

---@param methods table the request class, to which it is added
---@param private table open, take, close; copy, status_of, has_header
return function(methods, private)
  local set_header, set_status = methods.set_header, methods.set_status
  local finish, write = methods.finish, methods.write
  local write_err = methods.write_err
  local has_header = private.has_header

  --- What the script has set stays.
  local function default(req, name, value)
    if not has_header(req, name) then
      set_header(req, name, value)
    end
  end

  local function describe(req, about, name, options)
    if options.etag ~= false then
      about.etag = '"' .. (options.etag or ("%x-%x-%x"):format(about.size,
        about.mtime, about.nanoseconds)) .. '"'
      default(req, "ETag", about.etag)
    end
    default(req, "Last-Modified", tools.date(about.mtime))
    default(req, "Accept-Ranges", "bytes")
    default(req, "Content-Type", options.type or mime.type(name))
  end

  --- Neither type nor length are those of a body that is not sent.
  local function refuse(req, status, about)
    set_status(req, status)
    set_header(req, "Content-Type", nil)
    if status == 416 then
      set_header(req, "Content-Range", "bytes */" .. about.size)
    end
    if status ~= 304 then
      set_header(req, "Content-Length", 0)
    end
    return finish(req)
  end

  --- The head that fits what was asked, and what is to be sent of the file.
  local function answer(req, about)
    local method = req:method()
    local first, last = 0, about.size - 1
    if (method == "GET" or method == "HEAD")
      and not private.status_of(req) then
      local status = judge(req, about)
      if status then
        return nil, status
      end
      local from, to = nil, nil
      if method == "GET" then
        from, to = range_of(req, about)
      end
      if from == false then
        return nil, 416
      elseif from then
        first, last = from, to
        set_status(req, 206)
        set_header(req, "Content-Range", ("bytes %d-%d/%d"):format(first, last,
          about.size))
      else
        set_status(req, 200)
      end
    elseif not private.status_of(req) then
      set_status(req, 200)
    end
    set_header(req, "Content-Length", last - first + 1)
    return first, last - first + 1
  end

  --- A file that became shorter cannot keep what the head has promised: the
  --- answer breaks off, which clients notice.
  local function send(req, handle, about)
    local first, size = answer(req, about)
    if not first then
      return refuse(req, size, about)
    end
    if req:method() ~= "HEAD" then
      local ok, err = private.copy(req, handle, about.offset + first, size)
      if not ok and err ~= "aborted" and err ~= "finished" then
        write_err(req, "send_file: ", err)
        finish(req, 1)
      end
      if not ok then
        return nil, err
      end
    end
    return finish(req)
  end

  local function open(source, options)
    if type(source) == "string" then
      return private.open(source, options.root)
    elseif io.type(source) == "file" then
      return private.take(source)
    end
    error(("bad argument #1 to 'send_file' (a path or an open file expected, "
      .. "got %s)"):format(io.type(source) or type(source)), 3)
  end

  --- Answers with a file and finishes.
  ---@param source string|file* a path, or an open file from where it stands on
  ---@param options? {type?: string, etag?: string|false, root?: string}
  ---@return true? done
  ---@return string? err
  function methods.send_file(req, source, options)
    check_self(req, "send_file")
    options = check_options(options)
    local handle <close>, size, mtime, nanoseconds, at = open(source, options)
    if not handle then
      return nil, size
    end
    local open_still, over = write(req, "")
    if not open_still then
      return nil, over
    end
    at = math.min(at or 0, size)
    local about = { size = size - at, mtime = mtime, offset = at,
      nanoseconds = nanoseconds }
    pass_on(pcall(describe, req, about,
      type(source) == "string" and source or "", options))
    local done, err = pass_on(pcall(send, req, handle, about))
    if not done then
      return nil, err
    end
    return true
  end
end
