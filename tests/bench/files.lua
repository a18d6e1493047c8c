-- A file as the answer: the one that is the argument.
-- SPDX-License-Identifier: MIT
local path = ...

function on_request(req)
  assert(req:send_file(path))
end
