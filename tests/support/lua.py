"""A gateway whose handler runs the code that comes with each request, so that
one gateway serves many tests and each test shows its own handler.

SPDX-License-Identifier: MIT
"""
from support import fastcgi

EVAL = """\
local fcgi = require "fcgi"

local function show(v)
  if type(v) == "string" then return '"' .. v .. '"' end
  if type(v) ~= "table" then return tostring(v) end
  local out, list = {}, {}
  for i, item in ipairs(v) do out[i], list[i] = show(item), true end
  local named = {}
  for k, item in pairs(v) do
    if not list[k] then
      named[#named + 1] = tostring(k) .. "=" .. show(item)
    end
  end
  table.sort(named)
  table.move(named, 1, #named, #out + 1, out)
  return "{" .. table.concat(out, ", ") .. "}"
end

-- The values as text: "a", 1, 1.0, nil, {"x", k="v"}
function dump(...)
  local out = table.pack(...)
  for i = 1, out.n do out[i] = show(out[i]) end
  return table.concat(out, ", ")
end

function on_request(req)
  local code = req:param "LUA"
  if not code then return 200, {}, "no code" end
  local f = assert(load("local req, fcgi = ... " .. code, "=test", "t"))
  return f(req, fcgi)
end
"""

ECHO = 'return 200, {}, req:body(64 << 20) or ""'
# Waits until a request with GO comes; the log says that it has begun.
HOLD = ('fcgi.log("notice", "holding") '
        'while not go do fcgi.sleep(0.005) end go = nil '
        'return 200, {}, "held"')
# C code that never returns, and where no hook of Lua's runs.
HANGS = "(('a'):rep(1 << 14)):find(('a-'):rep(8) .. 'b')"
GO = 'go = true return 200, {}, "going"'


def params_for(code, params=None, body=b""):
    """A web server's params, with the handler's code."""
    merged = fastcgi.default_params(params, fastcgi.as_bytes(body))
    merged["LUA"] = code
    return merged


class Lua:
    """Runs code in the handler of a gateway: lua("return 200") is the
    Response.  The code sees req, fcgi and dump."""

    def __init__(self, gateway):
        self.gateway = gateway

    def __call__(self, code, params=None, body=b"", **args):
        return self.gateway.request(params_for(code, params, body), body,
                                    defaults=False, **args)

    def text(self, code, params=None, body=b"", **args):
        """The text of an answer that must be 200."""
        response = self(code, params, body, **args)
        assert response.status == 200, (response, self.gateway.log()[-2000:])
        return response.text

    def value(self, expression, params=None, body=b"", **args):
        """What dump() shows of an expression's values."""
        return self.text(f"return 200, {{}}, dump({expression})", params,
                         body, **args)

    def connect(self, **args):
        return self.gateway.connect(**args)

    def start(self, conn, id, code, params=None, body=b"", **args):
        """Sends a request on a connection that stays, reads nothing."""
        conn.start(id, params_for(code, params, body), body, defaults=False,
                   **args)

    def on(self, conn, code, params=None, body=b"", id=1, **args):
        """The answer on a connection that stays."""
        return conn.request(id, params_for(code, params, body), body,
                            defaults=False, **args)
