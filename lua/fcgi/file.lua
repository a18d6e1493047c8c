--- fcgi.file -- req.input, req.out and req.err: objects that behave as Lua's
--- files do, for libraries that want one.
---
--- Nothing is buffered here.  What is not taken by a call is there for the next
--- one, be it of the object or of the request.
-- SPDX-License-Identifier: MIT
local misuse = require "fcgi.misuse"

--- The third result that io's functions give with these errors; here as on
--- Linux.  Any other failure is an I/O error.
local codes = {
  finished = 32, -- EPIPE
  aborted = 103, -- ECONNABORTED
}
local BAD_DESCRIPTOR, NOT_SEEKABLE, IO_ERROR = 9, 29, 5

--- Bytes of the longest numeral, as for io, and of blanks looked at at a time.
local NUMERAL_MAX, BLANKS = 200, 256

---@class fcgi.File
---@field private _req fcgi.Request
---@field private _stream "input"|"out"|"err"
---@field private _begun boolean? was it read?
---@field private _closed boolean?
local File = { __name = "fcgi.file" }
File.__index = File

--- Level 3: the line that called the method that calls this.
local function check_file(file, method)
  if getmetatable(file) ~= File then
    error(("bad argument #1 to '%s' (%s expected, got %s)"):format(method,
      File.__name, type(file)), 3)
  elseif file._closed then
    error("attempt to use a closed file", 3)
  end
end

local function bad_argument(index, method, why, level)
  error(("bad argument #%d to '%s' (%s)"):format(index, method, why),
    level + 1)
end

local function failed(err)
  return nil, err, codes[err] or IO_ERROR
end

local function wrong_way()
  return nil, "Bad file descriptor", BAD_DESCRIPTOR
end

--- A format as "n", "a", "l", "L" or a number of bytes; or nil and why.
local function check_format(format)
  local kind = type(format)
  if kind == "number" then
    local size = math.tointeger(format)
    if not size then
      return nil, "number has no integer representation"
    elseif size < 0 then
      return nil, "a negative number of bytes"
    end
    return size
  elseif kind ~= "string" then
    return nil, "string expected, got " .. kind
  end
  local letter = format:match("^%*?([nalL])")
  return letter, not letter and "invalid format" or nil
end

--- All are checked before the first byte is taken.
local function check_formats(method, ...)
  local formats = table.pack(...)
  if formats.n == 0 then
    return { "l", n = 1 }
  end
  for i = 1, formats.n do
    local format, why = check_format(formats[i])
    if not format then
      bad_argument(i, method, why, 3)
    end
    formats[i] = format
  end
  return formats
end

---@param methods table the request class
---@param private table peek(req, n)
---@return fun(req: fcgi.Request, stream: string): fcgi.File
return function(methods, private)
  local read, read_line = methods.read, methods.read_line
  local peek = private.peek

  --- Each reader gives what it read; nil at the end; nil and why.
  local readers = {}

  --- A long line comes in pieces: only a newline or the end ends it.
  function readers.L(req)
    local line, err = read_line(req)
    if not line or line:byte(-1) == 10 then
      return line, err -- nearly always
    end
    local pieces = {}
    repeat
      pieces[#pieces + 1] = line
      line, err = read_line(req)
    until not line or line:byte(-1) == 10
    if err then
      return nil, err
    end
    pieces[#pieces + 1] = line
    return table.concat(pieces)
  end

  function readers.l(req)
    local line, err = readers.L(req)
    if line and line:byte(-1) == 10 then
      return line:sub(1, -2)
    end
    return line, err
  end

  --- After an abort what came before it is read first: that is not all.
  function readers.a(req)
    local rest, err = read(req)
    if rest then
      local _
      _, err = peek(req, 1)
    end
    if err then
      return nil, err
    end
    return rest or ""
  end

  --- Exactly that many bytes, unless the end comes.
  local function read_bytes(req, size)
    if size == 0 then -- is there more?
      local some, err = peek(req, 1)
      return some and "", err
    end
    local piece, err = read(req, size)
    if not piece or #piece == size then
      return piece, err -- nearly always
    end
    local pieces = {}
    repeat
      pieces[#pieces + 1] = piece
      size = size - #piece
      piece, err = nil, nil
      if size > 0 then
        piece, err = read(req, size)
      end
    until not piece
    if err then
      return nil, err
    end
    return table.concat(pieces)
  end

  local function skip_blanks(req)
    local next_byte, err = peek(req, 1)
    while next_byte and next_byte:find("^[ \t\n\v\f\r]") do
      local blanks
      blanks, err = peek(req, BLANKS)
      if not blanks then
        return nil, err
      end
      read(req, #blanks:match("^[ \t\n\v\f\r]*"))
      next_byte, err = peek(req, 1)
    end
    return next_byte, err
  end

  --- The longest beginning that could be one of a numeral is taken, as io does
  --- it: "0x" and "1e" are taken and give nil.
  function readers.n(req)
    local taken, size = {}, 0
    local char, err = skip_blanks(req)

    --- Takes the next byte if it is one of the set.
    local function take(set)
      if not char or not char:find(set) or size > NUMERAL_MAX then
        return false
      elseif size == NUMERAL_MAX then
        size = size + 1 -- too long: nothing more is taken
        return false
      end
      size = size + 1
      taken[size] = char
      read(req, 1)
      char, err = peek(req, 1)
      return true
    end

    local function take_all(set)
      local count = 0
      while take(set) do
        count = count + 1
      end
      return count
    end

    local digits, exponent, count = "^[0-9]", "^[eE]", 0
    take("^[+-]")
    if take("^0") then
      if take("^[xX]") then
        digits, exponent = "^[0-9A-Fa-f]", "^[pP]"
      else
        count = 1
      end
    end
    count = count + take_all(digits)
    if take("^[.]") then
      count = count + take_all(digits)
    end
    if count > 0 and take(exponent) then
      take("^[+-]")
      take_all("^[0-9]")
    end
    if err then
      return nil, err
    end
    return size <= NUMERAL_MAX and tonumber(table.concat(taken)) or nil
  end

  --- What file:read and the iterator of file:lines give.
  local function read_formats(file, formats)
    local req = file._req
    local results, n = {}, formats.n
    for i = 1, n do
      local format = formats[i]
      local reader = readers[format]
      local value, err
      if reader then
        value, err = reader(req)
      else
        value, err = read_bytes(req, format)
      end
      if err then
        return failed(err)
      elseif value == nil then
        n = i -- the last result is nil
        break
      end
      results[i] = value
    end
    return table.unpack(results, 1, n)
  end

  --- The request may have been read in another way: that is for the script's
  --- line.  It is asked once, for it stays as it is after that.
  local function begin(file)
    peek(file._req, 1)
    file._begun = true
  end

  function File.read(file, ...)
    check_file(file, "read")
    local formats = check_formats("read", ...)
    if file._stream ~= "input" then
      return wrong_way()
    end
    if not file._begun then
      misuse.pass_on(pcall(begin, file))
    end
    return read_formats(file, formats)
  end

  --- Each call of the iterator reads; after an abort it ends the loop with nil
  --- and "aborted", as all that reads from a request does.
  function File.lines(file, ...)
    check_file(file, "lines")
    local formats = check_formats("lines", ...)
    return function()
      if file._closed then
        error("file is already closed", 2)
      elseif file._stream ~= "input" then
        error("Bad file descriptor", 2)
      end
      if not file._begun then
        misuse.pass_on(pcall(begin, file))
      end
      return read_formats(file, formats)
    end
  end

  local writers = { out = methods.write, err = methods.write_err }

  --- Lists are for req:write: a file takes none.
  function File.write(file, ...)
    check_file(file, "write")
    for i = 1, select("#", ...) do
      local kind = type((select(i, ...)))
      if kind ~= "string" and kind ~= "number" then
        bad_argument(i, "write", "string expected, got " .. kind, 2)
      end
    end
    local writer = writers[file._stream]
    if not writer then
      return wrong_way()
    end
    local ok, err = misuse.pass_on(pcall(writer, file._req, ...))
    if not ok then
      return failed(err)
    end
    return file
  end

  function File.flush(file)
    check_file(file, "flush")
    if file._stream ~= "out" then
      return true
    end
    local ok, err = misuse.pass_on(pcall(methods.flush, file._req))
    if not ok then
      return failed(err)
    end
    return true
  end

  --- The end of the output is that of the answer.
  function File.close(file)
    check_file(file, "close")
    file._closed = true
    if file._stream ~= "out" then
      return true
    end
    local ok, err = misuse.pass_on(pcall(methods.finish, file._req))
    if not ok then
      return failed(err)
    end
    return true
  end

  function File.__close(file)
    if not file._closed then
      file:close()
    end
  end

  local whences = { set = true, cur = true, ["end"] = true }

  function File.seek(file, whence, offset)
    check_file(file, "seek")
    if whence ~= nil and not whences[whence] then
      bad_argument(1, "seek", ("invalid option '%s'"):format(whence), 2)
    elseif offset ~= nil and not math.tointeger(offset) then
      bad_argument(2, "seek", "integer expected", 2)
    end
    return nil, "not seekable", NOT_SEEKABLE
  end

  local modes = { no = true, full = true, line = true }

  --- What is written waits for the end of the turn, whatever the mode.
  function File.setvbuf(file, mode)
    check_file(file, "setvbuf")
    if not modes[mode] then
      bad_argument(1, "setvbuf", ("invalid option '%s'"):format(mode), 2)
    end
    return true
  end

  local labels = {
    input = "request input", out = "request output", err = "request errors",
  }

  function File.__tostring(file)
    return ("file (%s)"):format(file._closed and "closed"
      or labels[file._stream])
  end

  return function(req, stream)
    return setmetatable({ _req = req, _stream = stream }, File)
  end
end
