-- filter.lua -- fills in a page: {{name}} becomes the query's `name`, {{body}}
-- what was posted.  In the role filter the web server sends the page itself; no
-- packaged web server calls it, so on_request does the same with a file that
-- the web server names.  README.md says more.
-- Run: fcgi-lua -l 127.0.0.1:9000 filter.lua
-- Try: curl -d 'some text' 'http://127.0.0.1:8080/page.html?name=Ada'
-- (with a page.html in the web server's document root; 404 without)

local fcgi = require "fcgi"

local MAX = 1024 * 1024 -- of a page, and of what is posted

local function fill_in(req, page, body)
  local filled = page:gsub("{{(%w+)}}", function(name)
    local value = name == "body" and body or req:query(name) or ""
    return fcgi.html(value)
  end)
  return 200, { ["Content-Type"] = "text/html; charset=utf-8" }, filled
end

function on_filter(req)
  if (req.data_length or MAX + 1) > MAX then return 413 end
  local body, err = req:body(MAX) -- it comes first, the page behind it
  if err == "too large" then return 413 end
  return fill_in(req, req:data() or "", body)
end

-- lighttpd names the file by itself.  nginx: include fastcgi_params;
--   fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
function on_request(req)
  local file = io.open(req:param "SCRIPT_FILENAME" or "", "rb")
  local page = file and file:read(MAX) -- nil: empty, or a folder
  if file then file:close() end
  if not page then return 404 end
  local body, err = req:body(MAX)
  if err == "too large" then return 413 end
  return fill_in(req, page, body)
end
