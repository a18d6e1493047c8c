-- Uploads of any size, saved in a folder, with their progress in the log; and
-- the page with the form.  (With nginx: fastcgi_request_buffering off.)
-- Run: fcgi-lua --http=127.0.0.1:8080 upload.lua
-- Try: curl -F note=hello -F file=@/etc/services http://127.0.0.1:8080/
--
-- Whoever reaches it may fill the disk: ask first who it is (guestbook.lua has
-- what keeps out forms of other sites), and give each a share.

local fcgi = require "fcgi"

local folder = ... or "/tmp" -- the script's first argument
local html = { ["Content-Type"] = "text/html; charset=utf-8" }
local top = [[
<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Uploads</title>
<meta name="viewport" content="width=device-width">
<style>
:root { color-scheme: light dark; font-family: sans-serif }
body { max-width: 36em; margin: 2em auto; padding: 0 1em }
input { display: block; max-width: 100% }
input, button { font: inherit; margin: .2em 0 .8em; padding: .3em 0 }
button { padding: .3em 1em }
</style>
<h1>Uploads</h1>
<form method="post" enctype="multipart/form-data">
<label>Note <input name="note"></label>
<label>Files <input type="file" name="file" multiple></label>
<button>Send</button></form>
]]

-- A name of our own: that of the client may be taken, or a trap.
local function new_path()
  local name = fcgi.random(8):gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end)
  return folder .. "/upload-" .. name
end

local function save(part, path)
  local _ <close> = fcgi.every(1, function()
    fcgi.log("notice", part.filename, ": ", part.received, " bytes so far")
  end)
  return part:save(path)
end

function on_request(req)
  local page = { top, "<ul>\n" }
  if req:method() ~= "POST" then return 200, html, page end
  local status = 200
  for part in req:parts() do -- raises if the form does not come whole
    local name, text = part.filename, nil
    if name and name ~= "" then -- one was chosen
      local path = new_path()
      local size, err = save(part, path)
      text = size and size .. " bytes in " .. path or "not saved: " .. err
      status = size and status or 507
    elseif part.name == "note" then
      name, text = "note", part:read() or ""
    end
    if text then
      page[#page + 1] = "<li>" .. fcgi.html(name .. ": " .. text) .. "</li>\n"
    end
  end
  return status, html, { page, "</ul>\n" }
end
