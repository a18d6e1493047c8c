--- Requests whose body comes in pieces; they count what was asked of them.
local function new_class()
  local methods = {}
  methods.__index = methods

  --- As a method in C does it, whose caller stands in the program's own file.
  local function fail(req)
    local err = req.fails
    error(type(err) == "string" and "fcgi/file.lua:9: " .. err or err, 0)
  end

  --- Bytes that are there, at most max of them.
  local function some(req, max)
    if req.fails then
      fail(req)
    end
    local piece = req.pieces[1]
    if not piece then
      return nil, req.ending
    end
    return piece:sub(1, max)
  end

  local function consume(req, size)
    req.calls = req.calls + 1
    req.pieces[1] = req.pieces[1]:sub(size + 1)
    if req.pieces[1] == "" then
      table.remove(req.pieces, 1)
    end
  end

  function methods.read(req, size)
    if size then
      local got, err = some(req, size)
      if got then
        consume(req, #got)
      end
      return got, err
    end
    local all = table.concat(req.pieces)
    req.pieces = {}
    if all == "" then
      return nil, req.ending
    end
    return all
  end

  --- A line, or the beginning of one that is too long.
  function methods.read_line(req)
    local line = ""
    while #line < req.line_max do
      local got = some(req, req.line_max - #line)
      if not got then
        break
      end
      local newline = got:find("\n", 1, true)
      got = got:sub(1, newline)
      consume(req, #got)
      line = line .. got
      if newline then
        break
      end
    end
    if line == "" then
      return nil, req.ending
    end
    return line
  end

  function methods.write(req, ...)
    if req.fails then
      fail(req)
    elseif req.refuses then
      return nil, req.refuses
    end
    for i = 1, select("#", ...) do
      req.written = req.written .. select(i, ...)
    end
    return true
  end

  function methods.write_err(req, ...)
    req.complained = req.complained .. table.concat { ... }
    return true
  end

  function methods.flush(req)
    req.flushes = req.flushes + 1
    return not req.refuses or nil, req.refuses
  end

  function methods.finish(req)
    req.finishes = req.finishes + 1
    return true
  end

  local make = require "fcgi.file"(methods, {
    peek = function(req, max)
      req.peeks = req.peeks + 1
      return some(req, max)
    end,
  })
  return methods, make
end

local class, make = new_class()

local function request(fields)
  fields.pieces = fields.pieces or {}
  fields.line_max = fields.line_max or 8
  fields.calls, fields.peeks, fields.flushes, fields.finishes = 0, 0, 0, 0
  fields.written, fields.complained = "", ""
  return setmetatable(fields, class)
end

--- The body `text` in pieces of `size` bytes.
local function input(text, size)
  local pieces = {}
  for at = 1, #text, size or #text + 1 do
    pieces[#pieces + 1] = text:sub(at, at + (size or #text + 1) - 1)
  end
  local req = request { pieces = pieces }
  return make(req, "input"), req
end

local function refuses(message, f, ...)
  local arguments = table.pack(...)
  local ok, err = pcall(function()
    local got = f(table.unpack(arguments, 1, arguments.n))
    return got
  end)
  assert.is_false(ok)
  assert.matches("^tests/lua/file_spec%.lua:%d+: ", err)
  assert.are.equal(message, (err:gsub("^[^:]+:%d+: ", "")))
end

--- A real file with the same bytes.
local function real(text)
  local file = io.tmpfile()
  file:write(text)
  file:seek "set"
  return file
end

--- Results as text: nil and what is after it show.
local function show(...)
  local shown = table.pack(...)
  for i = 1, shown.n do
    local value = shown[i]
    shown[i] = type(value) == "string" and ("%q"):format(value)
      or math.type(value) == "float" and ("%a"):format(value)
      or tostring(value)
  end
  return table.concat(shown, " | ")
end

describe("reading", function()
  local texts = {
    "", "\n", "\n\n", "a", "a\n", "one\ntwo\nthree", "\none\n\n two\r\n",
    ("long "):rep(20) .. "\nshort\n" .. ("x"):rep(8) .. "\n",
    "12 0x1F\n-3.5e2 +7 .5 5. 0x.8p1 1e 0x - ff 1e+ nan inf 0 00 08\n 9",
    "a\0b\n\0\n", "   \t\v\f\r\n  42  \nrest", ("7"):rep(199) .. "\nx",
    ("7"):rep(200) .. "\nx", ("7"):rep(201) .. "\nx", "1" .. ("0"):rep(400),
    "0x" .. ("f"):rep(300) .. " 1", "9223372036854775807 9223372036854775808",
    "1..2 --3 1.e5e6 0X1P+2 0xg", "1" .. ("\n"):rep(600) .. "2",
  }
  local calls = {
    {}, { "l" }, { "L" }, { "a" }, { "n" }, { 0 }, { 1 }, { 5 }, { 1000 },
    { "*l" }, { "*L" }, { "*a" }, { "*n" }, { "*line" }, { "all" },
    { "number" }, { "n", "n", "n" }, { "n", "l" }, { "l", 0, "n", 3, "a" },
    { 2, "L", 0, "a", 0 }, { "n", 1, "n", "L" }, { "a", "a", "l" }, { 3.0 },
  }

  for _, size in ipairs { 1, 3, 1000000 } do
    it(("gives what io gives, from pieces of %d bytes"):format(size),
      function()
        for _, text in ipairs(texts) do
          for _, call in ipairs(calls) do
            local file, expected = input(text, size), real(text)
            for i = 1, 12 do
              assert.are.equal(
                ("%q %s #%d: %s"):format(text, show(table.unpack(call)), i,
                  show(expected:read(table.unpack(call)))),
                ("%q %s #%d: %s"):format(text, show(table.unpack(call)), i,
                  show(file:read(table.unpack(call)))))
            end
            expected:close()
          end
        end
      end)

    it(("iterates as io does, over pieces of %d bytes"):format(size),
      function()
        for _, text in ipairs(texts) do
          for _, call in ipairs(calls) do
            local next_one = input(text, size):lines(table.unpack(call))
            local file = real(text)
            local expected = file:lines(table.unpack(call))
            for _ = 1, 12 do
              local want = table.pack(expected())
              want.n = math.max(want.n, 1) -- at the end io gives not even nil
              assert.are.equal(show(table.unpack(want, 1, want.n)),
                show(next_one()))
            end
            file:close()
          end
        end
      end)
  end

  it("leaves to the request what it did not take", function()
    local text = "12 rest\nline\nabcdef"
    for _, size in ipairs { 1, 4, 100 } do
      local file, req = input(text, size)
      local function rest()
        return table.concat(req.pieces)
      end
      assert.are.equal("", file:read(0))
      assert.are.equal(text, rest())
      assert.are.equal(12, file:read "n")
      assert.are.equal(" rest\nline\nabcdef", rest())
      assert.is_nil(file:read "n")
      assert.are.equal("rest\nline\nabcdef", rest())
      assert.are.equal("rest", file:read())
      assert.are.equal("line\nabcdef", rest())
      assert.are.equal("line\nab", file:read(7))
      assert.are.equal("cdef", rest())
      assert.are.equal("c", req:read(1))
      assert.are.equal("def", file:read "a")
    end
  end)

  it("gives nil at the end, \"\" for a", function()
    local file = input ""
    assert.are.equal("nil", show(file:read()))
    assert.are.equal("nil", show(file:read(0)))
    assert.are.equal("nil", show(file:read(5)))
    assert.are.equal("nil", show(file:read "n"))
    assert.are.equal('""', show(file:read "a"))
  end)

  it("passes an abort on, with a number", function()
    for _, ending in ipairs { "aborted", "finished", "other" } do
      local code = ({ aborted = 103, finished = 32 })[ending] or 5
      local expected = ('nil | "%s" | %d'):format(ending, code)
      for _, call in ipairs {
        {}, { "L" }, { "a" }, { "n" }, { 0 }, { 5 }, { "l", 2 },
      } do
        local file = make(request { ending = ending }, "input")
        assert.are.equal(expected, show(file:read(table.unpack(call))))
        assert.are.equal(expected, show(file:lines(table.unpack(call))()))
      end
    end
  end)

  it("does not take the half of something for the whole", function()
    for _, call in ipairs {
      { "a" }, { "n" }, { 5 }, { 1, 5 }, { "l", "l" }, { 3, 0 },
    } do
      local file = make(request { pieces = { "123" }, ending = "aborted" },
        "input")
      assert.are.equal('nil | "aborted" | 103',
        show(file:read(table.unpack(call))))
    end
    local long = make(request {
      pieces = { ("x"):rep(20) }, ending = "aborted",
    }, "input")
    assert.are.equal('nil | "aborted" | 103', show(long:read()))
  end)

  it("asks for no more than it needs", function()
    local file, req = input(("x"):rep(100000), 1000)
    assert.are.equal(100000, #file:read(1 << 40))
    assert.are.equal(100, req.calls)
    file, req = input(("x"):rep(100000), 100000)
    req.line_max = 1000
    assert.are.equal(100000, #file:read())
    assert.are.equal(100, req.calls)
  end)

  it("skips blanks in strides, and takes few bytes of a long numeral",
    function()
      local file, req = input((" "):rep(1 << 16) .. "1")
      assert.are.equal(1, file:read "n")
      assert.is_true(req.calls + req.peeks < (1 << 16) // 16)
      file, req = input(("1"):rep(1 << 16))
      assert.is_nil(file:read "n")
      assert.are.equal((1 << 16) - 200, #table.concat(req.pieces))
    end)

  it("raises at the caller's line for a bad format, taking nothing",
    function()
      local file, req = input "abc"
      for _, method in ipairs { "read", "lines" } do
        local function bad(index, why, ...)
          refuses(("bad argument #%d to '%s' (%s)"):format(index, method, why),
            file[method], file, ...)
        end
        bad(1, "invalid format", "x")
        bad(1, "invalid format", "")
        bad(1, "invalid format", "*")
        bad(1, "invalid format", "**l")
        bad(1, "invalid format", "5")
        bad(2, "invalid format", "l", "x")
        bad(1, "number has no integer representation", 1.5)
        bad(1, "number has no integer representation", 0 / 0)
        bad(1, "a negative number of bytes", -1)
        bad(1, "string expected, got nil", nil)
        bad(3, "string expected, got table", 1, "l", {})
      end
      assert.are.same({ "abc" }, req.pieces)
    end)

  it("raises the request's own complaint at the caller's line", function()
    local file = make(request { fails = "taken by req:body" }, "input")
    refuses("taken by req:body", file.read, file)
    refuses("taken by req:body", file:lines())
    local cancelled = {}
    file = make(request { fails = cancelled }, "input")
    local _, err = pcall(file.read, file)
    assert.are.equal(cancelled, err)
  end)

  it("lets the coroutine wait", function()
    local req = request {}
    local waiting = new_class()
    function waiting.read_line()
      return coroutine.yield "line"
    end
    function waiting.read()
      return coroutine.yield "read"
    end
    local file = require "fcgi.file"(waiting, {
      peek = function() return coroutine.yield "peek" end,
    })(req, "input")
    local co = coroutine.wrap(function()
      return file:read("l", 4)
    end)
    assert.are.equal("peek", co())
    assert.are.equal("line", co "x")
    assert.are.equal("read", co "x\n")
    assert.are.equal("read", co "ab")
    assert.are.equal('"x" | "abcd"', show(co "cd"))
  end)
end)

describe("writing", function()
  it("gives the file, so that calls chain", function()
    local req = request {}
    local file = make(req, "out")
    assert.are.equal(file, file:write("a", 1):write():write("b\0", 2.5))
    assert.are.equal("a1b\0" .. 2.5, req.written)
  end)

  it("takes strings and numbers only, and checks before it writes", function()
    local req = request {}
    local file = make(req, "out")
    for kind, value in pairs { table = {}, boolean = true } do
      refuses("bad argument #2 to 'write' (string expected, got " .. kind
        .. ")", file.write, file, "a", value)
    end
    refuses("bad argument #1 to 'write' (string expected, got nil)",
      file.write, file, nil)
    assert.are.equal("", req.written)
  end)

  it("passes a failure on, with a number", function()
    local file = make(request { refuses = "aborted" }, "out")
    assert.are.equal('nil | "aborted" | 103', show(file:write "x"))
    assert.are.equal('nil | "aborted" | 103', show(file:flush()))
    file = make(request { refuses = "finished" }, "out")
    assert.are.equal('nil | "finished" | 32', show(file:write "x"))
  end)

  it("raises the request's own complaint at the caller's line", function()
    local file = make(request { fails = "the head is too large" }, "out")
    refuses("the head is too large", file.write, file, "x")
  end)

  it("goes to the web server's log through err", function()
    local req = request {}
    local file = make(req, "err")
    assert.are.equal(file, file:write("a", 1))
    assert.are.equal("a1", req.complained)
    assert.are.equal("", req.written)
  end)

  it("flushes the answer only", function()
    local req = request {}
    for _, stream in ipairs { "input", "out", "err" } do
      assert.are.equal("true", show(make(req, stream):flush()))
    end
    assert.are.equal(1, req.flushes)
  end)
end)

describe("a file object", function()
  it("goes one way, as a file of io does", function()
    local expected = 'nil | "Bad file descriptor" | 9'
    local req = request { pieces = { "x" } }
    assert.are.equal(expected, show(make(req, "input"):write "x"))
    for _, stream in ipairs { "out", "err" } do
      local file = make(req, stream)
      assert.are.equal(expected, show(file:read "a"))
      refuses("Bad file descriptor", file:lines())
    end
    assert.are.same({ "x" }, req.pieces)
  end)

  it("cannot seek", function()
    local expected = 'nil | "not seekable" | 29'
    for _, stream in ipairs { "input", "out", "err" } do
      local file = make(request {}, stream)
      assert.are.equal(expected, show(file:seek()))
      assert.are.equal(expected, show(file:seek("set", 5)))
      assert.are.equal(expected, show(file:seek "end"))
      refuses("bad argument #1 to 'seek' (invalid option 'x')", file.seek,
        file, "x")
      refuses("bad argument #2 to 'seek' (integer expected)", file.seek, file,
        "set", 1.5)
    end
  end)

  it("takes any buffering that there is", function()
    local file = make(request {}, "out")
    assert.is_true(file:setvbuf "no")
    assert.is_true(file:setvbuf("full", 1024))
    assert.is_true(file:setvbuf "line")
    refuses("bad argument #1 to 'setvbuf' (invalid option 'x')", file.setvbuf,
      file, "x")
    refuses("bad argument #1 to 'setvbuf' (invalid option 'nil')",
      file.setvbuf, file)
  end)

  it("has a name", function()
    assert.are.equal("file (request input)",
      tostring(make(request {}, "input")))
    assert.are.equal("file (request output)",
      tostring(make(request {}, "out")))
    assert.are.equal("file (request errors)",
      tostring(make(request {}, "err")))
  end)

  it("is of no use once closed", function()
    for _, stream in ipairs { "input", "out", "err" } do
      local req = request { pieces = { "x" } }
      local file = make(req, stream)
      local next_line = file:lines()
      assert.is_true(file:close())
      assert.are.equal("file (closed)", tostring(file))
      for _, method in ipairs {
        "read", "lines", "write", "flush", "close", "seek", "setvbuf",
      } do
        refuses("attempt to use a closed file", file[method], file)
      end
      refuses("file is already closed", next_line)
      assert.are.equal(stream == "out" and 1 or 0, req.finishes)
      assert.are.same({ "x" }, req.pieces)
    end
  end)

  it("may be a variable that is closed", function()
    local req = request {}
    do
      local file <close> = make(req, "out")
      file:write "x"
    end
    assert.are.equal(1, req.finishes)
    do
      local file <close> = make(req, "out")
      file:close()
    end
    assert.are.equal(2, req.finishes)
  end)

  it("raises at the caller's line without a colon", function()
    local file = make(request {}, "input")
    for _, method in ipairs {
      "read", "lines", "write", "flush", "close", "seek", "setvbuf",
    } do
      for _, what in ipairs { {}, "x", 1 } do
        refuses(("bad argument #1 to '%s' (fcgi.file expected, got %s)")
          :format(method, type(what)), file[method], what)
      end
    end
  end)
end)
