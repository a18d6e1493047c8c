--- fcgi.lazy -- functions of the module that are loaded by their first call: a
--- script that does not use them does not pay for them.
-- SPDX-License-Identifier: MIT
local require = require -- whatever a script makes of it

--- Module gives a function that adds those functions to a table; open gives it
--- what it needs of C.
---@param fcgi table the module
---@param module string
---@param open fun(): table
---@param ... string the names of the functions
return function(fcgi, module, open, ...)
  local loaded
  local function load()
    if not loaded then
      local functions = {}
      require(module)(functions, open())
      loaded = functions
    end
    return loaded
  end

  for _, name in ipairs { ... } do
    --- A tail call: errors name the line of the script that called this.
    fcgi[name] = function(...)
      return load()[name](...)
    end
  end
end
