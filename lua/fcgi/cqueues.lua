--- fcgi.cqueues -- runs what is written for cqueues, such as lua-http, in a
--- task, which waits for it.
---
--- A controller of cqueues tells for which descriptor and how long it would
--- wait.  We do, by fcgi.wait, and let it go on when there is something to do.
-- SPDX-License-Identifier: MIT
local fcgi = require "fcgi"
local cqueues = require "cqueues"

local bridge = {}

--- One step; or an error that nobody has caught in a thread of the controller.
local function step(controller)
  local ok, err = controller:step(0)
  if not ok then
    return nil, err
  end
  return true
end

local function wait(controller)
  fcgi.wait(controller:pollfd(), "r", controller:timeout())
end

--- Runs a controller until it is empty, as its own loop does, which would stop
--- the process.
---@param controller userdata
---@return true? done
---@return any err
function bridge.loop(controller)
  while true do
    local ok, err = step(controller)
    if not ok then
      return nil, err
    elseif controller:empty() then
      return true
    end
    wait(controller)
  end
end

--- However the wait for it ends, nothing of a controller is left.
local Closing = {}

function Closing:__close()
  self.controller:close()
end

--- Calls f where functions of cqueues may wait: in a thread of a controller of
--- its own, which ends with f.
---@param f fun(...): ...
---@return any ... what f returns
function bridge.run(f, ...)
  local controller = cqueues.new()
  local _ <close> = setmetatable({ controller = controller }, Closing)
  local args, results = table.pack(...), nil
  controller:wrap(function()
    results = table.pack(pcall(f, table.unpack(args, 1, args.n)))
  end)
  while true do
    local ok, err = step(controller)
    if results then
      break
    elseif not ok then
      error(err, 0)
    end
    wait(controller)
  end
  if not results[1] then
    error(results[2], 0)
  end
  return table.unpack(results, 2, results.n)
end

return bridge
