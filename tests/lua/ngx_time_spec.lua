--- Times as nginx writes them.
local time = require "fcgi.ngx.time"

describe("times", function()
  it("are written for headers and cookies", function()
    assert.equal("Thu, 18 Nov 2010 11:27:35 GMT", time.http_time(1290079655))
    assert.equal("Thu, 18-Nov-10 11:27:35 GMT", time.cookie_time(1290079655))
    assert.equal("Thu, 18-Nov-2038 11:27:35 GMT", time.cookie_time(2173692455))
  end)

  it("are read in the three forms of HTTP", function()
    assert.equal(1290079655, time.parse_http_time
      "Thu, 18 Nov 2010 11:27:35 GMT")
    assert.equal(784111777, time.parse_http_time
      "Sunday, 06-Nov-94 08:49:37 GMT")
    assert.equal(784111777, time.parse_http_time "Sun Nov  6 08:49:37 1994")
    assert.equal(0, time.parse_http_time "Thu, 01 Jan 1970 00:00:00 GMT")
  end)

  it("come back as they were", function()
    for _, seconds in ipairs { 951782399, 951782400, 951868800, 1709164800,
      4107542400, 253402300799, -62135596800 } do
      assert.equal(seconds, time.parse_http_time(time.http_time(seconds)))
    end
  end)

  it("are nil for what is no time", function()
    for _, wrong in ipairs { "", "now", "Thu, 18 Nov 2010 11:27:35",
      "Thu, 18 Foo 2010 11:27:35 GMT", "Thu, 31 Nov 2010 11:27:35 GMT",
      "Thu, 29 Feb 2023 11:27:35 GMT", "Thu, 00 Nov 2010 11:27:35 GMT",
      "Thu, 18 Nov 2010 24:27:35 GMT", "Thu, 18 Nov 2010 11:60:35 GMT" } do
      assert.is_nil(time.parse_http_time(wrong))
    end
  end)

  it("of today are those of the clock", function()
    local before = os.time()
    local year, month, day, hour, min, sec =
      time.localtime():match("^(%d+)-(%d+)-(%d+) (%d+):(%d+):(%d+)$")
    local now = os.time { year = year, month = month, day = day, hour = hour,
      min = min, sec = sec }
    assert.is_true(math.abs(now - before) < 7200) -- an hour may come twice
    assert.matches("^%d%d%d%d%-%d%d%-%d%d$", time.today())
    assert.matches("^%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d$", time.utctime())
  end)
end)
