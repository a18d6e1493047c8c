--- A class with the accessors and the few C methods that they build on.
local function new_class()
  local kept = setmetatable({}, { __mode = "k" })
  local methods = {}
  methods.__index = methods

  function methods:query_string()
    self.asked_query = (self.asked_query or 0) + 1
    return self.query_text or ""
  end

  function methods:header(name)
    self.asked_header = (self.asked_header or 0) + 1
    return ({ cookie = self.cookie_text })[name]
  end

  --- Gives more than one result at the end, as a broken upload does.
  function methods:read_line()
    local line = table.remove(self.body_lines, 1)
    if line == nil then
      return nil, "aborted"
    end
    return line
  end

  require "fcgi.request"(methods, function(req)
    kept[req] = kept[req] or {}
    return kept[req]
  end)
  return methods
end

local class = new_class()

local function new(fields)
  return setmetatable(fields, class)
end

--- Both families behave alike; so do their tests.
local families = {
  query = function(text) return new { query_text = text } end,
  cookie = function(text)
    return new { cookie_text = text:gsub("&", "; ") }
  end,
}

for name, with in pairs(families) do
  local all = name .. "_all"

  describe("req:" .. name, function()
    it("gives the first value of a name", function()
      local req = with "n=1&m=2&n=3"
      assert.are.equal("1", req[name](req, "n"))
      assert.are.equal("2", req[name](req, "m"))
    end)

    it("gives exactly one result always", function()
      local req = with "n=1&n=2&empty="
      assert.are.equal(1, select("#", req[name](req, "n")))
      assert.are.equal(1, select("#", req[name](req, "missing")))
      assert.are.equal(1, select("#", req[name](req)))
      assert.are.equal(1, tonumber(req[name](req, "n")))
      assert.is_nil(req[name](req, "missing"))
      assert.are.equal("", req[name](req, "empty"))
    end)

    it("gives a table of first values without a name", function()
      local req = with "n=1&m=2&n=3"
      assert.are.same({ n = "1", m = "2" }, req[name](req))
    end)

    it("is empty when nothing was sent", function()
      local req = new {}
      assert.are.same({}, req[name](req))
      assert.are.same({}, req[all](req, "n"))
      assert.is_nil(req[name](req, "n"))
    end)

    it("takes a number for its digits", function()
      local req = with "1=one"
      assert.are.equal("one", req[name](req, 1))
      assert.are.same({ "one" }, req[all](req, 1))
    end)

    it("knows no names but those sent", function()
      local req = with "n=1"
      for _, other in ipairs { "__index", "query", "cookie", "N", "", "n " } do
        assert.is_nil(req[name](req, other))
        assert.are.same({}, req[all](req, other))
      end
    end)

    it("keeps names that look like fields apart", function()
      local req = with "__index=1&query=2&cookie=3&n=4"
      assert.are.equal("1", req[name](req, "__index"))
      assert.are.equal("2", req[name](req, "query"))
      assert.are.equal("3", req[name](req, "cookie"))
    end)

    it("cannot be changed through a table it gave", function()
      local req = with "n=1&n=2"
      local first, list = req[name](req), req[all](req, "n")
      first.n, first.x, list[1], list[3] = "9", "9", "9", "9"
      req[all](req, "missing")[1] = "9"
      assert.are.same({ n = "1" }, req[name](req))
      assert.are.same({ "1", "2" }, req[all](req, "n"))
      assert.are.same({}, req[all](req, "missing"))
      assert.are.equal("1", req[name](req, "n"))
      assert.is_nil(req[name](req, "missing"))
    end)

    it("keeps requests apart", function()
      local one, two = with "n=1", with "n=2"
      assert.are.equal("1", one[name](one, "n"))
      assert.are.equal("2", two[name](two, "n"))
      assert.are.equal("1", one[name](one, "n"))
    end)

    it("decodes once", function()
      local req = with "n=1"
      for _ = 1, 3 do
        req[name](req)
        req[name](req, "n")
        req[all](req, "n")
      end
      assert.are.equal(1, req.asked_query or req.asked_header)
    end)

    it("raises at the handler's line for what is no name", function()
      local req = with "n=1"
      local mistakes = { {}, true, print }
      for i = 1, #mistakes + 1 do -- nil too
        for _, method in ipairs { name, all } do
          local ok, err = pcall(function()
            local got = req[method](req, mistakes[i])
            return got
          end)
          assert.is_false(ok)
          assert.matches("request_spec%.lua:%d+: bad argument #1 to '"
            .. method .. "' %(string expected, got %l+%)", err)
        end
      end
    end)

    it("raises at the handler's line without a colon", function()
      for _, method in ipairs { name, all } do
        for _, arguments in ipairs { {}, { "n" } } do
          local ok, err = pcall(function()
            local got = class[method](table.unpack(arguments))
            return got
          end)
          assert.is_false(ok)
          assert.matches("request_spec%.lua:%d+: bad self %(write req:"
            .. method, err)
        end
      end
    end)

    it("answers fast however many pairs there are", function()
      local req = with(("n=1&"):rep(100000) .. "last=2")
      local start = os.clock()
      for _ = 1, 10000 do
        assert(req[name](req, "last") == "2")
      end
      assert.are.equal(100000, #req[all](req, "n"))
      assert.is_true(os.clock() - start < 5)
    end)
  end)

  describe("req:" .. all, function()
    it("gives every value in order", function()
      local req = with "n=1&m=x&n=2&n=1"
      assert.are.same({ "1", "2", "1" }, req[all](req, "n"))
      assert.are.same({ "x" }, req[all](req, "m"))
    end)

    it("gives an empty list for a name that was not sent", function()
      local req = with "n=1"
      assert.are.same({}, req[all](req, "m"))
      assert.are.equal(1, select("#", req[all](req, "m")))
    end)
  end)
end

describe("req:query and req:cookie", function()
  it("do not mix", function()
    local req = new { query_text = "n=q", cookie_text = "n=c" }
    assert.are.equal("q", req:query "n")
    assert.are.equal("c", req:cookie "n")
    assert.are.same({ "q" }, req:query_all "n")
    assert.are.same({ "c" }, req:cookie_all "n")
  end)

  it("decode in their own ways", function()
    local req = new { query_text = "n=%41+b", cookie_text = 'n="%41+b"' }
    assert.are.equal("A b", req:query "n")
    assert.are.equal("%41+b", req:cookie "n")
  end)
end)

describe("req:lines", function()
  local function lines(...)
    local found = {}
    for line in new { body_lines = { ... } }:lines() do
      found[#found + 1] = line
    end
    return found
  end

  it("strips one newline from each line", function()
    assert.are.same({ "a", "", "b\r", "c" },
      lines("a\n", "\n", "b\r\n", "c"))
  end)

  it("ends where the body does", function()
    assert.are.same({}, lines())
    assert.are.same({ "", "" }, lines("\n", "\n"))
  end)

  it("gives one result, and nil without a reason at the end", function()
    local next_line = new { body_lines = { "a\n" } }:lines()
    assert.are.equal(1, select("#", next_line()))
    assert.are.equal(1, select("#", next_line()))
  end)

  it("keeps every byte", function()
    for byte = 0, 255 do
      local char = string.char(byte)
      assert.are.same({ byte == 10 and "" or char }, lines(char))
      assert.are.same({ char .. "x" }, lines(char .. "x\n"))
    end
  end)

  it("lets the coroutine wait inside read_line", function()
    local req = new {}
    function req.read_line()
      return coroutine.yield()
    end
    local found = {}
    local co = coroutine.wrap(function()
      for line in req:lines() do
        found[#found + 1] = line
      end
    end)
    co()
    co "a\n"
    co "b"
    co(nil)
    assert.are.same({ "a", "b" }, found)
  end)
end)
