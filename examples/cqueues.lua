-- Fetches pages, all at once, with lua-http.  That is a library for cqueues,
-- which has a loop of its own: fcgi.cqueues lets the handler wait for it, and
-- others are served meanwhile.  Debian's lua-http is for older versions of Lua,
-- and runs with 5.4.
-- Run: fcgi-lua --http=127.0.0.1:8080 --lua-compat=5.1 cqueues.lua
-- Try: curl http://127.0.0.1:8080/     (for other pages: cqueues.lua URL ...)

local bridge = require "fcgi.cqueues"
local promise = require "cqueues.promise"
local request = require "http.request"

local urls = { ... }
if not urls[1] then
  urls = { "https://www.lua.org/", "https://www.debian.org/" }
end

local function fetch(url)
  local headers, stream = request.new_from_uri(url):go(10)
  if not headers then return ("%s: %s"):format(url, stream) end
  local body, err = stream:get_body_as_string(10)
  if not body then return ("%s: %s"):format(url, err) end
  return ("%s: %s, %d bytes"):format(url, headers:get ":status", #body)
end

-- Runs in a thread of cqueues: its functions can wait there, ours cannot.
local function fetch_all()
  local pages = {}
  for i, url in ipairs(urls) do pages[i] = promise.new(fetch, url) end
  for i, page in ipairs(pages) do pages[i] = page:get() end
  return pages
end

function on_request()
  local lines = bridge.run(fetch_all)
  return 200, { ["Content-Type"] = "text/plain; charset=utf-8" },
    table.concat(lines, "\n") .. "\n"
end
