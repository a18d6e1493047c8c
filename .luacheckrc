-- Settings of luacheck: `luacheck lua examples src tests` in this directory.
std = "lua54"
max_line_length = 100
codes = true
self = false -- a method may ignore its object

-- A script defines its handlers as globals.
local handlers = {
  "on_request", "on_authorize", "on_filter", "on_error", "on_start", "on_worker", "on_exit",
  "on_reload",
}

files["examples"].globals = handlers
files["tests"].globals = handlers
files["tests/services"].globals = {
  "on_request", "works", "expect", "expect_error", "bytes",
}
files["tests/lua"].std = "lua54+busted"
-- Definitions for editors: functions without a body, classes that nobody reads.
files["lua/fcgi/meta.lua"].ignore = { "212", "241" }
