--- What clients send to the parsers written in Lua: thousands of inputs that
--- are broken in every way that a generator with a fixed seed comes to.
local conditions = require "fcgi.conditions"
local cookie = require "fcgi.cookie"
local mime = require "fcgi.mime"
local tools = require "fcgi.tools"
local urlencoded = require "fcgi.urlencoded"

local ROUNDS = 2000

-- --- the generator -------------------------------------------------------

local Random = {}
Random.__index = Random

--- The same numbers in each run, whoever else draws some.
local function new_random(seed)
  return setmetatable({ state = seed }, Random)
end

--- 1..n
function Random:below(n)
  self.state = (self.state * 6364136223846793005 + 1442695040888963407)
  return (self.state >> 33) % n + 1
end

function Random:pick(list)
  return list[self:below(#list)]
end

--- Up to most of these pieces, or of any bytes.
function Random:text(most, pieces)
  local made = {}
  for i = 1, self:below(most + 1) - 1 do
    made[i] = pieces and self:pick(pieces) or string.char(self:below(256) - 1)
  end
  return table.concat(made)
end

local changes = {}

function changes.cut(random, s)
  local from = random:below(#s + 1)
  return s:sub(1, from - 1) .. s:sub(from + random:below(8))
end

function changes.insert(random, s, pieces)
  local at = random:below(#s + 1)
  return s:sub(1, at - 1) .. random:text(4, pieces) .. s:sub(at)
end

function changes.repeated(random, s)
  local at = random:below(#s + 1)
  local piece = s:sub(at, at + random:below(8) - 1)
  return s:sub(1, at - 1) .. piece:rep(random:below(20)) .. s:sub(at)
end

function changes.byte(random, s)
  local at = random:below(#s + 1)
  return s:sub(1, at - 1) .. string.char(random:below(256) - 1) .. s:sub(at + 1)
end

local kinds = { "cut", "insert", "repeated", "byte" }

--- A sound input with some changes, or one of pieces alone.
function Random:broken(sound, pieces)
  if self:below(4) == 1 then
    return self:text(30, pieces)
  end
  local s = self:pick(sound)
  for _ = 1, self:below(4) do
    s = changes[self:pick(kinds)](self, s, pieces)
  end
  return s
end

--- Calls f with thousands of inputs; an error tells which one it was.
local function each(seed, sound, pieces, f)
  local random = new_random(seed)
  for round = 1, ROUNDS do
    local s = random:broken(sound, pieces)
    local ok, err = pcall(f, s, random)
    if not ok then
      error(("input %d, %q: %s"):format(round, s, err), 0)
    end
  end
end

--- Steps of the virtual machine that a call takes.
local function steps(f, ...)
  local count = 0
  debug.sethook(function() count = count + 1 end, "", 100)
  f(...)
  debug.sethook()
  return count
end

--- Four times the input, at most so many times the steps.
local function grows_with_length(f, filler, shape)
  local function cost(n)
    local text = shape:gsub("%%s", function() return filler:rep(n) end)
    return steps(f, text)
  end
  cost(10) -- whatever is made only once
  local small, large = cost(2000), cost(8000)
  assert(large <= 5 * small + 5, ("%q in %q: %d steps, then %d"):format(filler,
    shape, small, large))
end

local function append(a, b)
  local all = table.move(a, 1, #a, 1, {})
  return table.move(b, 1, #b, #all + 1, all)
end

-- --- query strings and forms -----------------------------------------------

local queries = { "a=1&b=2", "name=J%C3%BCrgen+M%C3%BCller&x=%26", "q", "=", "",
  "a[]=1&a[]=2", "page=3&sort=price&order=asc", "%41=%zz&%=%4&+=+" }
local query_pieces = { "&", "=", "%", "+", "%00", "%2", "%25", "%gg", "a", "\0",
  "\255", ";", "%26", "%3D", " " }

describe("hostile query strings", function()
  it("are pairs, none of them larger than what it comes from", function()
    each(1, queries, query_pieces, function(s)
      local list, size = urlencoded.decode(s), 0
      for _, pair in ipairs(list) do
        assert(#pair == 2 and type(pair[1]) == "string"
          and type(pair[2]) == "string")
        size = size + #pair[1] + #pair[2] + 1
      end
      assert(size <= #s + 1)
      local _, separators = s:gsub("&", "")
      assert(#list <= separators + 1)
    end)
  end)

  it("mean what their halves mean", function()
    each(2, queries, query_pieces, function(s, random)
      local t = random:broken(queries, query_pieces)
      assert.are.same(append(urlencoded.decode(s), urlencoded.decode(t)),
        urlencoded.decode(s .. "&" .. t))
    end)
  end)

  it("are not decoded beyond the number of pairs that there may be", function()
    each(3, queries, query_pieces, function(s)
      local list = urlencoded.decode(s)
      assert.are.same(list, urlencoded.decode(s, #list))
      if #list > 0 then
        assert.is_nil(urlencoded.decode(s, #list - 1))
      end
    end)
  end)

  it("come back as they were made", function()
    each(4, queries, query_pieces, function(s, random)
      local list = { { s, random:text(10) }, { random:text(10), s }, { s, s } }
      assert.are.same(list, urlencoded.decode(urlencoded.encode(list)))
      assert.are.equal(s, tools.unescape(tools.escape(s)))
      assert.is_nil(tools.escape(s):find("[^A-Za-z0-9._~%%-]"))
      assert(#tools.unescape(s) <= #s)
      local first, all = tools.decode_query(tools.encode_query { [s] = { s, "x" } })
      assert.are.same({ [s] = s }, first)
      assert.are.same({ [s] = { s, "x" } }, all)
    end)
  end)

  it("cost what their length says", function()
    for _, filler in ipairs { "&", "a", "=", "%", "+", "a&", "a=b&", "%41", "a=%" } do
      for _, shape in ipairs { "%s", "a=%s", "%s&x", "a&%s=" } do
        grows_with_length(urlencoded.decode, filler, shape)
        grows_with_length(tools.decode_query, filler, shape)
      end
    end
  end)
end)

-- --- cookies -----------------------------------------------------------------

local cookies = { "a=1; b=2", 'session="4f8a1c2e"; theme=dark', "a", "=", "",
  "__Host-id=x; __Secure-y=z", "a=b=c;d = e ;;" }
local cookie_pieces = { ";", "=", " ", "\t", '"', ",", "a", "\0", "\r\n", "\255",
  "; ", "%3B", "\\" }

describe("hostile cookies", function()
  it("are pairs of names and values without what separates them", function()
    each(5, cookies, cookie_pieces, function(s)
      local size = 0
      for _, pair in ipairs(cookie.decode(s)) do
        local name, value = pair[1], pair[2]
        assert(name ~= "" and not name:find("[;=]") and not value:find(";"))
        assert(not name:find("^[ \t]") and not name:find("[ \t]$"))
        size = size + #name + #value + 1
      end
      assert(size <= #s)
    end)
  end)

  it("mean what their halves mean", function()
    each(6, cookies, cookie_pieces, function(s, random)
      local t = random:broken(cookies, cookie_pieces)
      assert.are.same(append(cookie.decode(s), cookie.decode(t)),
        cookie.decode(s .. ";" .. t))
    end)
  end)

  it("are one line and one value when a script sets them, or refused", function()
    each(7, cookies, cookie_pieces, function(s, random)
      local name = random:below(3) > 1 and "n" or s
      local ok, line = pcall(cookie.encode, name, s,
        random:below(2) == 1 and { path = "/" .. s, domain = s } or nil)
      assert(type(line) == "string")
      if ok then
        assert(not line:find("[\0-\31\127]"), line)
        assert(line:sub(1, #name + #s + 1) == name .. "=" .. s)
        assert(line:sub(#name + #s + 2, #name + #s + 8) == "; Path=")
        local _, attributes = line:gsub(";", "")
        assert(attributes <= 4)
      else
        assert(not line:find("cookie.lua", 1, true), line)
      end
    end)
  end)

  it("cost what their length says", function()
    for _, filler in ipairs { ";", " ", "=", '"', "a", "a;", "a=b;", "; ", ' "' } do
      for _, shape in ipairs { "%s", "a=%s", 'a="%s', "a=%sx" } do
        grows_with_length(cookie.decode, filler, shape)
      end
    end
  end)
end)

-- --- paths ---------------------------------------------------------------------

local paths = { "/a/b.txt", "a/../b", "/./a//b/", "../../etc/passwd", "", "/",
  "a/b/../../../c", "/%2e%2e/x", "..\\..\\x" }
local path_pieces = { "/", ".", "..", "../", "/..", "/./", "//", "a", "\\", "\0",
  "%2e", "\255", "...", " " }

--- The folders that a path goes through, one name at a time.
local function leads_out(path)
  local depth = 0
  for name in path:gmatch("[^/]*") do
    if name == ".." then
      depth = depth - 1
    elseif name ~= "" and name ~= "." then
      depth = depth + 1
    end
    if depth < 0 then
      return true
    end
  end
  return path:find("\0", 1, true) ~= nil
end

describe("hostile paths", function()
  it("stay below the folder, or are nil", function()
    each(8, paths, path_pieces, function(s)
      local joined = tools.join("/srv/www", s)
      assert.are.equal(leads_out(s), joined == nil)
      if joined then
        assert(joined:sub(1, 9) == "/srv/www/")
        for name in joined:gmatch("[^/]+") do
          assert(name ~= ".." and name ~= ".")
        end
        assert(not joined:find("//", 1, true) and not joined:find("\0", 1, true))
        assert.are.equal(joined, tools.join("/srv/www", joined:sub(10)))
        assert.are.equal((joined:gsub("/$", "")),
          tools.join("/srv", "www/" .. s))
        assert.are.equal(joined:sub(9), tools.join("/", s))
      end
    end)
  end)

  it("have a media type", function()
    local sound = { "/a.html", "a.tar.gz", ".profile", "a.", "/a.b/c", "x.HTML" }
    each(9, sound, path_pieces, function(s)
      assert(mime.type(s):find("^[%w.+-]+/[%w.+-]+[; %w=-]*$"), mime.type(s))
    end)
  end)

  it("cost what their length says", function()
    local function join(s) return tools.join("/r", s) end
    for _, filler in ipairs { "/", ".", "a/", "a/../", "./", "a" } do
      grows_with_length(join, filler, "%s")
      grows_with_length(mime.type, filler, "/a%s")
      grows_with_length(mime.type, filler, "/a.%s/x")
    end
  end)
end)

-- --- ranges and conditions -------------------------------------------------------

local same = "Sun, 09 Sep 2001 01:46:40 GMT"
local ranges = { "bytes=0-3", "bytes=4-", "bytes=-5", " Bytes = 44-44 ",
  "bytes=0-0,-1", "bytes=99-1000", "bytes=-0", "lines=1-2" }
local range_pieces = { "-", "=", ",", " ", "0", "9", "18446744073709551616",
  "9223372036854775807", "bytes", "+", "e9", "0x", "\0", "." }
local conditions_sound = { '"v"', 'W/"v"', "*", '"a", "v", W/"c"', same, '""',
  '"a"b"', "Sat, 31 Feb 2001 01:46:40 GMT" }
local condition_pieces = { '"', "W/", "w/", ",", " ", "*", "v", '"v"', "\0",
  "GMT", "Sep", "09", ":" }

local function request(headers)
  return { header = function(_, name) return headers[name] end }
end

describe("hostile ranges", function()
  it("are a part of the file, none of it, or all of it", function()
    local found = { part = 0, none = 0, all = 0 }
    each(10, ranges, range_pieces, function(s, random)
      local size = random:pick { 0, 1, 45, 1 << 33, math.maxinteger }
      local first, last = conditions.range(request { Range = s },
        { size = size, mtime = 0 })
      if first then
        found.part = found.part + 1
        assert(math.type(first) == "integer" and math.type(last) == "integer")
        assert(0 <= first and first <= last and last < size)
      else
        local kind = first == false and "none" or "all"
        found[kind] = found[kind] + 1
        assert(last == nil)
      end
    end)
    for kind, count in pairs(found) do
      assert(count > ROUNDS / 100, kind)
    end
  end)

  it("are the bytes that were asked for", function()
    local random = new_random(11)
    local file = random:text(200)
    for _ = 1, ROUNDS do
      local from, to = random:below(#file + 20) - 1, random:below(#file + 20) - 1
      local asked, wanted = ("bytes=%d-%d"):format(from, to), nil
      if random:below(3) == 1 then
        asked, wanted = ("bytes=-%d"):format(to), to > 0 and file:sub(-to) or ""
      elseif random:below(3) == 1 then
        asked, wanted = ("bytes=%d-"):format(from), file:sub(from + 1)
      elseif from <= to then
        wanted = file:sub(from + 1, to + 1)
      end
      local first, last = conditions.range(request { Range = asked },
        { size = #file, mtime = 0 })
      local given = first and file:sub(first + 1, last + 1)
      if wanted == "" then
        wanted = false
      end
      assert.are.equal(wanted, given, asked)
    end
  end)
end)

describe("hostile conditions", function()
  it("are 304, 412 or nothing", function()
    local names = { "If-Match", "If-None-Match", "If-Modified-Since",
      "If-Unmodified-Since", "If-Range" }
    local found = { [304] = 0, [412] = 0, [200] = 0 }
    each(12, conditions_sound, condition_pieces, function(s, random)
      local headers = { [random:pick(names)] = s, Range = "bytes=0-3" }
      headers[random:pick(names)] = random:broken(conditions_sound,
        condition_pieces)
      local about = { size = 45, mtime = 1000000000, etag = '"v"' }
      local status = conditions.judge(request(headers), about) or 200
      found[status] = found[status] + 1
      local first, last = conditions.range(request(headers), about)
      assert(first == nil or first == 0 and last == 3)
      local condition = headers["If-Range"]
      assert(condition == nil or condition == '"v"' or condition == same
        or first == nil)
    end)
    for status, count in pairs(found) do
      assert(count > ROUNDS / 100, status)
    end
  end)

  it("name the one time that is written so, or none", function()
    local random = new_random(13)
    for _ = 1, ROUNDS do
      local time = random:below(315537897600) - 62135596801
      local text = tools.date(time)
      assert.are.equal(time, conditions.date(text))
      local broken = changes[random:pick(kinds)](random, text, { "0", "9", " " })
      local other = conditions.date(broken)
      assert(other == nil or tools.date(other) == broken, broken)
    end
  end)
end)

-- --- text and events --------------------------------------------------------------

describe("hostile text", function()
  local back = { ["&amp;"] = "&", ["&lt;"] = "<", ["&gt;"] = ">",
    ["&quot;"] = '"', ["&#39;"] = "'" }
  local sound = { "<script>alert('x')</script>", "a & b", '"><img src=x>',
    "&amp;&#39;", "J\195\188rgen" }
  local pieces = { "<", ">", "&", '"', "'", "&amp;", "a", "\0", "\255" }

  it("is text in HTML", function()
    each(14, sound, pieces, function(s)
      local html = tools.html(s)
      assert.is_nil(html:find("[<>\"']"))
      assert.are.equal(s, (html:gsub("&[%l#%d]-;", back)))
    end)
  end)

  --- req:event, and what it has sent.
  local function new_event()
    local loaded, sent = package.loaded.fcgi, {}
    local function nothing() end
    local lock = { put = nothing, get = nothing }
    package.loaded.fcgi = { now = os.clock, spawn = nothing,
      channel = function() return lock end }
    local methods = { set_header = function() end, flush = function() return true end }
    function methods.write(_, text)
      sent[#sent + 1] = text
      return true
    end
    local about = {}
    require "fcgi.event"(methods, { is_begun = function() return true end,
      body_bytes = function() return 0 end }, function() return about end)
    package.loaded.fcgi = loaded
    return methods.event, sent
  end

  --- As browsers read a stream (HTML, 9.2.6).
  local function read_stream(text)
    local events, event = {}, {}
    for line in (text:gsub("\r\n?", "\n")):gmatch("(.-)\n") do
      local name, value = line:match("^([^:]*):? ?(.*)$")
      if line == "" then
        events[#events + 1], event = event, {}
      elseif name ~= "" then
        event[name] = event[name] and event[name] .. "\n" .. value or value
      end
    end
    assert(next(event) == nil)
    return events
  end

  it("is the data of one event", function()
    local event, sent = new_event()
    local lines = { "\n", "\r", "\r\n", "\n\n", ":", " ", "data: x", "id: 1",
      "retry: 1", "\0", "a" }
    local texts = { "a\nb", "data: x\n\nevent: y\n\n", "", " a", ":" }
    each(15, texts, lines, function(s, random)
      local name = random:broken(texts, lines)
      local given = { data = s, event = name, id = random:pick { name, "7" } }
      local ok = pcall(event, {}, given)
      assert.are.equal(not name:find("[\r\n\0]"), ok)
      if ok then
        local data = s:gsub("\r\n?", "\n")
        assert.are.same({ { data = data, event = name, id = given.id } },
          read_stream(sent[#sent]))
      end
    end)
  end)
end)
