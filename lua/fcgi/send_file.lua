--- fcgi.send_file -- req:send_file: a file as an answer, with what HTTP has for
--- files (RFC 9110): conditions, a range, validators.
-- SPDX-License-Identifier: MIT
local conditions = require "fcgi.conditions"
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
      local status = conditions.judge(req, about)
      if status then
        return nil, status
      end
      local from, to = nil, nil
      if method == "GET" then
        from, to = conditions.range(req, about)
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
