-- Runs CGI programs.  What they read and write passes through as it comes, and
-- none is left running when its client has gone.
-- Run: fcgi-lua --http=127.0.0.1:8080 cgi.lua
-- Try: curl -d 'some text' 'http://127.0.0.1:8080/cgi-bin/NAME/more?query'
-- for /usr/lib/cgi-bin/NAME, or a NAME in the folder given behind cgi.lua.

local fcgi = require "fcgi"

local folder, PIECE = fcgi.args[1] or "/usr/lib/cgi-bin", 65536

-- A name has no slash and begins with no dot, so it never leaves the folder.
local function split(path)
  local at = path:match "^/cgi%-bin()/" or 1
  local name, info = path:match("^/([%w_-][%w_.-]*)%f[/\0](.*)$", at)
  if name then return name, path:sub(1, at + #name), info end
end

local function environment(req, script_name, path_info)
  local env = { PATH = os.getenv "PATH" }
  for name, value in pairs(req:param()) do
    local is_sound = name:find "^[%a_][%w_]*$" and not value:find "\0"
    if is_sound and name:upper() ~= "HTTP_PROXY" then env[name] = value end
  end
  env.GATEWAY_INTERFACE = "CGI/1.1"
  env.SCRIPT_NAME, env.PATH_INFO = script_name, path_info
  return env
end

local function on_request(req)
  local name, script_name, path_info = split(req:path())
  if not name then return 404 end
  local program <close>, err = fcgi.popen {
    "./" .. name, cwd = folder, stderr = "pipe", clear_env = true,
    env = environment(req, script_name, path_info),
  }
  if not program then return err == "not found" and 404 or 500 end
  fcgi.spawn(function()
    for piece in function() return req:read(PIECE) end do
      if not program:write(piece) then return end -- it reads no more
    end
    if not req:is_aborted() then program:close_write() end
  end)
  local errors = fcgi.spawn(function()
    for line in program.stderr:lines() do req:write_err(line, "\n") end
  end)
  for piece in function() return program:read(PIECE) end do req:write(piece) end
  errors:join()
end

return { on_request = on_request, abort = "cancel" }
