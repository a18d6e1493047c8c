--- fcgi.process -- `fcgi.run` and `fcgi.popen`: programs that a script runs.
-- SPDX-License-Identifier: MIT
--- Bytes of a line unless more are asked for, as req:read_line.
local LINE_MAX = 1024 * 1024

--- What the options may be of both functions, then of each.
local common = {
  env = "table", clear_env = "boolean", cwd = "string", stdout = "string",
  stderr = "string",
}
local of_run = setmetatable({
  stdin = true, timeout = "number", max = "number",
}, { __index = common })
local of_popen = setmetatable({ stdin = "string" }, { __index = common })

local stdio = {
  stdin = { pipe = true, null = true },
  stdout = { pipe = true, null = true, inherit = true },
  stderr = { pipe = true, null = true, inherit = true, merge = true },
}

--- What all of these raise names the line that called the function of the
--- module which called them: level 3.
local function fail(name, message, ...)
  error(("bad argument #1 to '%s' (%s)"):format(name, message:format(...)), 4)
end

local function check_options(name, spec, known)
  if type(spec) ~= "table" then
    fail(name, "table expected, got %s", type(spec))
  end
  for key, value in pairs(spec) do
    local wanted = type(key) == "string" and known[key]
    if not wanted and math.type(key) ~= "integer" then
      fail(name, "unknown option '%s'", key)
    elseif wanted and wanted ~= true and type(value) ~= wanted then
      fail(name, "option '%s': %s expected, got %s", key, wanted, type(value))
    end
  end
  if spec.cwd and spec.cwd:find("\0", 1, true) then
    fail(name, "option 'cwd' has a NUL byte")
  end
end

local function check_arguments(name, spec)
  local args = {}
  for i = 1, #spec do
    local arg = spec[i]
    if type(arg) ~= "string" and type(arg) ~= "number" then
      fail(name, "item %d: string expected, got %s", i, type(arg))
    end
    args[i] = tostring(arg)
    if args[i]:find("\0", 1, true) then
      fail(name, "item %d has a NUL byte", i)
    end
  end
  if #args == 0 then
    fail(name, "a program expected, and its arguments")
  end
  return args
end

--- NAME=VALUE; NAME alone: it is taken out.
local function check_env(name, env)
  local list = {}
  for key, value in pairs(env or {}) do
    if type(key) ~= "string" or key == "" or key:find("[=\0]") then
      fail(name, "env: '%s' cannot be a name", key)
    elseif value == false then
      list[#list + 1] = key
    elseif type(value) ~= "string" and type(value) ~= "number"
        or tostring(value):find("\0", 1, true) then
      fail(name, "env: %s cannot have such a value", key)
    else
      list[#list + 1] = key .. "=" .. value
    end
  end
  return list
end

local function check_stdio(name, spec, what, otherwise)
  local kind = spec[what] or otherwise
  if not stdio[what][kind] then
    fail(name, "option '%s' cannot be '%s'", what, kind)
  end
  return kind
end

local function is_limit(number)
  return number >= 0 -- NaN is not
end

--- Strings, numbers and nested lists of them; else the type that is wrong.
local function find_wrong(value, depth)
  local kind = type(value)
  if kind ~= "table" or depth > 60 then
    return kind ~= "string" and kind ~= "number" and kind or nil
  end
  for _, item in ipairs(value) do
    local wrong = find_wrong(item, depth + 1)
    if wrong then
      return wrong
    end
  end
end

--- Level 3: the line that called the method that calls this.
local function check_class(object, class, method)
  if getmetatable(object) ~= class then
    error(("bad self (write %s:%s, with a colon)"):format(class.object, method),
      3)
  end
end

--- Adds the strings of a list to pieces.
local function flatten(value, pieces)
  for _, item in ipairs(value) do
    if type(item) == "table" then
      flatten(item, pieces)
    else
      pieces[#pieces + 1] = item
    end
  end
  return pieces
end

---@param functions table where run and popen go
---@param private table see lua_process.h
return function(functions, private)
  local start, wait, kill = private.start, private.wait, private.kill
  local close, close_pipe = private.close, private.close_pipe
  local receive, receive_any = private.receive, private.receive_any
  local send, is_open = private.send, private.is_open

  local function start_program(spec, args, env, stdin, stdout, stderr)
    return start(args, env, spec.clear_env, spec.cwd, stdin, stdout, stderr)
  end

  --- What a program writes.  The end of it is nil; nil and "closed": that of
  --- the pipe came first, because the process was closed.
  ---@class fcgi.Reader
  ---@field private _pipe userdata
  ---@field private _process table kept, or it would be collected, and killed
  ---@field private _next_line function
  local Reader = { __name = "fcgi.reader", object = "process.stdout" }
  Reader.__index = Reader

  local function new_reader(pipe, process)
    return pipe and setmetatable({
      _pipe = pipe,
      _process = process,
      _next_line = private.receive_until(pipe, "\n", { inclusive = true }),
    }, Reader)
  end

  --- At the end nobody holds the pipe any more, which may have been all that a
  --- program was still kept for.
  local function ended(reader, err)
    if err == "closed" and is_open(reader._pipe) then
      wait(reader._process._process, 0)
      return nil
    end
    return nil, err
  end

  --- A line with its newline, or max bytes of it.
  local function next_piece(reader, max)
    local next_line = reader._next_line
    local piece, err, partial = next_line(max)
    if not piece then
      if partial and partial ~= "" then
        return partial
      end
      return ended(reader, err)
    elseif piece:byte(-1) == 10 then
      next_line() -- says that a line has ended
    end
    return piece
  end

  --- Each reader of a format gives what it read; nil at the end; nil and why.
  local formats = {}

  --- A long line comes in pieces: only a newline or the end ends it.
  function formats.L(reader)
    local line, err = next_piece(reader, LINE_MAX)
    if not line then
      return nil, err
    elseif line:byte(-1) == 10 then
      return line -- nearly always
    end
    local pieces = {}
    repeat
      pieces[#pieces + 1] = line
      line, err = next_piece(reader, LINE_MAX)
    until not line or line:byte(-1) == 10
    if err then
      return nil, err
    end
    pieces[#pieces + 1] = line
    return table.concat(pieces)
  end

  function formats.l(reader)
    local line, err = formats.L(reader)
    if not line then
      return nil, err
    end
    return line:byte(-1) == 10 and line:sub(1, -2) or line
  end

  local function read_rest(reader)
    local rest, err, partial = receive(reader._pipe, "*a")
    if rest or partial ~= "" then
      return rest or partial
    end
    return ended(reader, err)
  end

  function formats.a(reader)
    local rest, err = read_rest(reader)
    if err then
      return nil, err
    end
    return rest or ""
  end

  --- 1 to n bytes as soon as there are any; all the rest without n; or a line,
  --- "l", one with its newline, "L", and all the rest, "a", as io reads them.
  ---@param what? integer|"l"|"L"|"a"
  function Reader:read(what)
    check_class(self, Reader, "read")
    if what == nil then
      return read_rest(self)
    elseif math.type(what) == "integer" and what > 0 then
      local some, err = receive_any(self._pipe, what)
      if some then
        return some
      end
      return ended(self, err)
    end
    local format = type(what) == "string" and formats[what:match "^%*?(.+)$"]
    if not format then
      error("bad argument #1 to 'read' (invalid format)", 2)
    end
    return format(self)
  end

  ---@param max? integer
  function Reader:read_line(max)
    check_class(self, Reader, "read_line")
    if max ~= nil and (math.type(max) ~= "integer" or max < 1) then
      error("bad argument #1 to 'read_line' (must be positive)", 2)
    end
    return next_piece(self, max or LINE_MAX)
  end

  --- The lines without their newlines.
  function Reader:lines()
    check_class(self, Reader, "lines")
    return function()
      return formats.l(self)
    end
  end

  --- The program is told when it writes more.
  function Reader:close()
    check_class(self, Reader, "close")
    close_pipe(self._pipe)
    return true
  end

  Reader.__close = Reader.close

  function Reader:__tostring()
    return ("reader (%s)"):format(is_open(self._pipe) and "open" or "closed")
  end

  --- A program that runs, or has run.
  ---@class fcgi.Process
  ---@field pid integer
  ---@field stdout fcgi.Reader?
  ---@field stderr fcgi.Reader?
  ---@field private _process userdata
  ---@field private _stdin userdata?
  local Process = { __name = "fcgi.process", object = "process" }
  Process.__index = Process

  for _, method in ipairs { "read", "read_line", "lines" } do
    local read = Reader[method]
    Process[method] = function(self, what)
      check_class(self, Process, method)
      if not self.stdout then
        error(("process:%s: its stdout is no pipe"):format(method), 2)
      end
      return read(self.stdout, what)
    end
  end

  --- Waits while the pipe is full.
  function Process:write(...)
    check_class(self, Process, "write")
    for i = 1, select("#", ...) do
      local wrong = find_wrong((select(i, ...)), 0)
      if wrong then
        error(("bad argument #%d to 'write' (string, number or list of them "
          .. "expected, got %s)"):format(i, wrong), 2)
      end
    end
    if not self._stdin then
      error("process:write: its stdin is no pipe", 2)
    end
    local ok, err = send(self._stdin, { ... })
    if not ok then
      return nil, err
    end
    return true
  end

  --- The end of its input.
  function Process:close_write()
    check_class(self, Process, "close_write")
    if self._stdin then
      close_pipe(self._stdin)
    end
    return true
  end

  local function check_seconds(seconds)
    if seconds ~= nil and
        (type(seconds) ~= "number" or not is_limit(seconds)) then
      error("bad argument #1 to 'wait' (not a number of seconds)", 3)
    end
  end

  ---@param seconds? number
  function Process:wait(seconds)
    check_class(self, Process, "wait")
    check_seconds(seconds)
    return wait(self._process, seconds)
  end

  ---@param signal? integer|string
  function Process:kill(signal)
    check_class(self, Process, "kill")
    local number = private.signal(signal or "TERM")
    if not number then
      error(("bad argument #1 to 'kill' ('%s' is no signal)"):format(signal), 2)
    end
    return kill(self._process, number)
  end

  --- Kills it unless it has ended.
  function Process:close()
    check_class(self, Process, "close")
    close(self._process)
    return true
  end

  Process.__close = Process.close

  function Process:__tostring()
    return ("process (%d)"):format(self.pid)
  end

  function functions.popen(spec)
    check_options("popen", spec, of_popen)
    local args = check_arguments("popen", spec)
    local env = check_env("popen", spec.env)
    local process, stdin, stdout, stderr = start_program(spec, args, env,
      check_stdio("popen", spec, "stdin", "pipe"),
      check_stdio("popen", spec, "stdout", "pipe"),
      check_stdio("popen", spec, "stderr", "inherit"))
    if not process then
      return nil, stdin -- why
    end
    local self = setmetatable({
      pid = private.pid(process),
      _process = process,
      _stdin = stdin or nil,
    }, Process)
    self.stdout = new_reader(stdout, self)
    self.stderr = new_reader(stderr, self)
    return self
  end

  local function check_limit(spec, option)
    local value = spec[option]
    if value and not is_limit(value) then
      fail("run", "option '%s' must not be negative", option)
    end
    return value
  end

  function functions.run(spec)
    check_options("run", spec, of_run)
    local args = check_arguments("run", spec)
    local env = check_env("run", spec.env)
    local wrong = spec.stdin ~= nil and find_wrong(spec.stdin, 0)
    if wrong then
      error(("bad argument #1 to 'run' (option 'stdin': string, number or "
        .. "list of them expected, got %s)"):format(wrong), 2)
    end
    local timeout = check_limit(spec, "timeout")
    local room = math.floor(check_limit(spec, "max") or private.output_max)
    local stdout = check_stdio("run", spec, "stdout", "pipe")
    local stderr = check_stdio("run", spec, "stderr", "pipe")
    local input = spec.stdin or ""
    if type(input) == "table" then
      input = table.concat(flatten(input, {}))
    end
    private.can_wait()
    local process, stdin
    process, stdin, stdout, stderr = start_program(spec, args, env,
      spec.stdin and "pipe" or "null", stdout, stderr)
    if not process then
      return nil, stdin -- why
    end
    local _ <close> = process
    local status, why = private.finish(process, timeout, input, room)
    local result = {
      status = status,
      stdout = stdout and private.output(stdout) or "",
      stderr = stderr and private.output(stderr) or "",
    }
    if not status then
      return nil, why, result
    end
    return result
  end
end
