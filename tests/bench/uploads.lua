-- An upload, read and thrown away, or saved in the folder that is the argument.
-- SPDX-License-Identifier: MIT
local folder = ...
local ways = {}

function ways.read(req)
  local size = 0
  for piece in function() return req:read(65536) end do
    size = size + #piece
  end
  return size
end

function ways.save(req)
  local size = 0
  for part in req:parts() do
    size = size + assert(part:save(folder .. "/upload"))
  end
  return size
end

function on_request(req)
  return 200, { ["Content-Type"] = "text/plain" },
    ways[req:query_string()](req)
end
