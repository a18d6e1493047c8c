local mock = require "fcgi.mock"

local SCRIPT = [[
local fcgi = require "fcgi"
local count, cleaned = 0, 0
local app = {}
function app.on_start() app.started = true end
function app.on_worker(id) fcgi.sleep(0.001) app.id = id end
function app.on_exit()
  if fcgi.args[1] then
    local file = assert(io.open(fcgi.args[1], "a"))
    file:write("exit\n")
    file:close()
  end
end
local cases = {}
function cases.count() count = count + 1 return 200, {}, tostring(count) end
function cases.hooks()
  return 200, {}, ("%s %s"):format(app.started, app.id)
end
function cases.echo(req)
  req:set_header("X-Type", req:header "content-type" or "none")
  for piece in function() return req:read(1000) end do req:write(piece) end
end
function cases.headers(req)
  return 200, { ["Set-Cookie"] = { "a=1", "b=2" } },
    (req:header "x-a" or "") .. "|" .. (req:cookie "c" or "")
end
function cases.param(req) return 200, {}, req:param(req:query "name") or "-" end
function cases.fail() error "of its own" end
function cases.late(req) req:set_status(200):write("half") req:flush()
  error "late" end
function cases.sleep(req)
  fcgi.sleep(0.01)
  fcgi.spawn(function() fcgi.sleep(0.01) cleaned = cleaned + 1 end):detach()
  local task = fcgi.spawn(function() fcgi.sleep(0.01) return "slept" end)
  return 200, {}, task:join()
end
function cases.after(req)
  req:send(200, {}, "early")
  fcgi.sleep(0.01)
  cleaned = cleaned + 10
end
function cases.cleaned() return 200, {}, tostring(cleaned) end
function cases.exit() os.exit(3) end
function cases.hang() fcgi.sleep(1000) end
function cases.say(req) print "said" return 204 end
function cases.args() return 200, {}, table.concat(fcgi.args, ",") end
function cases.large() return 200, {}, ("x"):rep(5000000) end
function app.on_request(req) return cases[req:path():sub(2)](req) end
app.timeout = 100
return app
]]

local written = {} -- and removed when the test has ended

local function write(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  written[#written + 1] = path
  return path
end

describe("fcgi.mock", function()
  local app, path

  setup(function()
    path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(SCRIPT)
    file:close()
    app = assert(mock.load(path))
  end)

  teardown(function()
    app:close()
    os.remove(path)
  end)

  after_each(function()
    for i = #written, 1, -1 do
      os.remove(table.remove(written, i))
    end
  end)

  local function body(target)
    local answer = assert(app:request("GET", target))
    assert.are.equal(200, answer.status)
    return answer.body
  end

  it("answers", function()
    local answer = app:request("GET", "/hooks?x=y")
    assert.are.equal(200, answer.status)
    assert.are.equal("OK", answer.reason)
    assert.are.equal("true 1", answer.body)
    assert.are.equal("6", answer.headers["content-length"])
    assert.is_true(answer.complete)
  end)

  it("keeps the application between two requests", function()
    local first = tonumber(body "/count")
    assert.are.equal(first + 1, tonumber(body "/count"))
  end)

  it("sends headers, once or more", function()
    local answer = app:request("GET", "/headers",
      { ["X-A"] = { "1", 2 }, Cookie = "c=d" })
    assert.are.equal("1, 2|d", answer.body)
    assert.are.equal("a=1", answer.headers["set-cookie"])
    local cookies = {}
    for _, header in ipairs(answer.header_list) do
      if header.name == "Set-Cookie" then
        cookies[#cookies + 1] = header.value
      end
    end
    assert.are.same({ "a=1", "b=2" }, cookies)
  end)

  it("sends a body of any size", function()
    for _, size in ipairs { 0, 1, 65536, 3000000 } do
      local sent = ("0123456789"):rep(size // 10 + 1):sub(1, size)
      local answer = app:request("POST", "/echo",
        { ["Content-Type"] = "text/x" }, sent)
      assert.is_true(answer.body == sent)
      assert.are.equal("text/x", answer.headers["x-type"])
    end
    assert.are.equal(5000000, #body "/large")
  end)

  it("takes a path or a URL", function()
    local function param(name, url)
      return app:request("GET", url .. "/param?name=" .. name).body
    end
    assert.are.equal("localhost", param("HTTP_HOST", ""))
    assert.are.equal("a.example:8", param("HTTP_HOST", "http://a.example:8"))
    assert.are.equal("GET", param("REQUEST_METHOD", ""))
    assert.are.equal("-", param("CONTENT_LENGTH", ""))
    assert.are.equal("https", param("REQUEST_SCHEME", "https://a.example"))
    assert.are.equal("http", param("REQUEST_SCHEME", "http://a.example"))
  end)

  it("sends the length of the body that the headers have", function()
    local function length(headers)
      return app:request("POST", "/param?name=CONTENT_LENGTH", headers,
        "abc").body
    end
    assert.are.equal("3", length {})
    assert.are.equal("3", length { ["content-length"] = 3 })
    assert.are.equal("-", length { ["Transfer-Encoding"] = "chunked" })
  end)

  it("waits as handlers do", function()
    assert.are.equal("slept", body "/sleep")
    assert.are.equal("early", body "/after")
    -- the handler has ended, and what it detached goes on with the loop
    while tonumber(body "/cleaned") < 11 do body "/sleep" end
  end)

  it("shows what goes wrong", function()
    local page = app:request("GET", "/fail")
    assert.are.equal(500, page.status)
    assert.is_true(page.complete)
    local answer = app:request("GET", "/late")
    assert.are.equal(200, answer.status)
    assert.is_false(answer.complete)
    assert.are.equal("half", answer.body)
  end)

  it("outlives an application that wants to end the process", function()
    assert.are.equal(500, app:request("GET", "/exit").status)
    assert.are.equal("true 1", body "/hooks")
    for text, wanted in pairs {
      ["os.exit(3)"] = "os.exit would end the test",
      ["return { on_start = function() os.exit(3) end, on_request = print }"]
        = "os.exit would end the test",
      ["return { on_worker = function() os.exit(3) end, on_request = print }"]
        = "on_worker failed",
    } do
      local got, err = mock.load(write(text))
      assert.is_nil(got)
      assert.matches(wanted, err, 1, true)
    end
    local other <close> = assert(mock.load(write("local exit = os.exit "
      .. "return { on_request = function() exit(3) end }")))
    assert.are.equal(500, other:request("GET", "/").status)
  end)

  it("refuses what is no request", function()
    for message, call in pairs {
      ["the target is not a path"] = { "GET", "x" },
      ["the method is not a token"] = { "G T", "/" },
      ["the name of a field is not a token"] = { "GET", "/", { ["a b"] = 1 } },
      ["a field has a control byte"] = { "GET", "/", { a = "1\r\nb: 2" } },
    } do
      local answer, err = app:request(table.unpack(call))
      assert.is_nil(answer)
      assert.are.equal(message, err)
    end
    for _, call in ipairs { {}, { "GET" }, { "GET", "/", "x" },
      { "GET", "/", { a = {} , b = true } }, { "GET", "/", { 1 } },
      { "GET", "/", {}, {} } } do
      assert.is_false(pcall(app.request, app, table.unpack(call)))
    end
    assert.are.equal("true 1", body "/hooks")
  end)

  it("refuses too many headers, and takes lists without any", function()
    local some, many, empty = {}, {}, {}
    for i = 1, 60 do some["X-" .. i] = tostring(i) end
    for i = 1, 65 do many["X-" .. i] = tostring(i) end
    for i = 1, 5000 do empty["X-" .. i] = {} end
    assert.are.equal(200, app:request("GET", "/hooks", some).status)
    assert.are.equal(200, app:request("GET", "/hooks", empty).status)
    assert.has_error(function() app:request("GET", "/", many) end,
      "bad argument #3 to 'request' (too many headers)")
  end)

  it("takes the options of the command line", function()
    local other <close> = assert(mock.load(path, { timeout = 0.05,
      args = { "/dev/null", "b" }, include = { "/tmp", "/var" } }))
    assert.are.equal("/dev/null,b", other:request("GET", "/args").body)
    assert.are.equal(504, other:request("GET", "/hang").status)
    assert.are.equal("true 1", other:request("GET", "/hooks").body)
    for _, options in ipairs { { nonsense = 1 }, { timeout = "soon" }, { 1 },
      { args = 1 }, "x" } do
      assert.is_false(pcall(mock.load, path, options))
    end
  end)

  it("shows what handlers print, on stderr, unless told otherwise", function()
    local function said(options)
      local script, out = write(([[package.cpath = %q
        local app = assert(require "fcgi.mock".load(%q, %s))
        app:request("GET", "/say")]]):format(package.cpath, path, options)),
        os.tmpname()
      assert(os.execute(("lua5.4 %s 2>%s"):format(script, out)))
      local file <close> = assert(io.open(out))
      os.remove(out)
      return file:read "a"
    end
    assert.matches("notice.* said ", said "{}")
    assert.are.equal("", said "{ log_level = 'warn' }")
  end)

  it("tells why it does not load", function()
    for text, wanted in pairs {
      ["function ("] = "expected near",
      ["error 'at the top'"] = "at the top",
      ["return {}"] = "no handler",
      ["return { on_start = function() error 'in start' end, on_request = print }"]
        = "in start",
      ["return { on_worker = function() error 'x' end, on_request = print }"]
        = "on_worker failed",
      ["return { on_request = print, nonsense = 1 }"] = "nonsense",
    } do
      local got, err = mock.load(write(text))
      assert.is_nil(got)
      assert.matches(wanted, err, 1, true)
    end
    local got, err = mock.load "/nonexistent.lua"
    assert.is_nil(got)
    assert.matches("/nonexistent.lua", err, 1, true)
  end)

  it("brings no Lua along, which another one's could not live with", function()
    local module = assert(package.searchpath("fcgi.mock", package.cpath))
    local needed = assert(io.popen("readelf -d " .. module)):read "a"
    assert.matches("NEEDED", needed, 1, true)
    assert.is_nil(needed:find("liblua", 1, true))
  end)

  it("has its own globals, and several may be loaded", function()
    local one = assert(mock.load(write("x = 1 on_request = function() "
      .. "x = x + 1 return 200, {}, tostring(x) end")))
    local two = assert(mock.load(write("on_request = function() "
      .. "return 200, {}, tostring(x) end")))
    assert.are.equal("2", one:request("GET", "/").body)
    assert.are.equal("nil", two:request("GET", "/").body)
    assert.is_nil(rawget(_G, "x"))
    one:close()
    assert.are.equal("nil", two:request("GET", "/").body)
    two:close()
  end)

  it("ends", function()
    local log = write ""
    local other = assert(mock.load(path, { args = { log } }))
    other:request("GET", "/sleep")
    other:close()
    other:close()
    local file <close> = assert(io.open(log))
    assert.are.equal("exit\n", file:read "a")
    assert.is_false(pcall(other.request, other, "GET", "/"))
    assert(mock.load(path)) -- the collector closes this one
    collectgarbage()
    collectgarbage()
  end)
end)
