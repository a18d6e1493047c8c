--- markup -- prose as it stands in lua/fcgi/meta.lua and fcgi-lua-web.txt, cut
--- into blocks.  Strict: what would not look as it was meant is an error.
---
--- SPDX-License-Identifier: MIT
local markup = {}

--- Ends the program: this file has a mistake at this line.
function markup.fail(file, line, what)
  io.stderr:write(("%s:%d: %s\n"):format(file, line, what))
  os.exit(1)
end

local LANGUAGES = { lua = true, sh = true, nginx = true }

local function trim(s) return (s:gsub("^%s+", ""):gsub("%s+$", "")) end

--- The cells of "| a | b |".
local function cells_of(line)
  local cells = {}
  for cell in line:match("^|(.*)|%s*$"):gmatch("[^|]+") do
    cells[#cells + 1] = trim(cell)
  end
  return cells
end

--- What ends a paragraph: the beginning of anything else.
local function is_special(line)
  return line == "" or line:find "^```" or line:find "^|" or
    line:find "^%* " or line:find "^    "
end

--- Cuts lines into blocks: text, code (with language), literal (indented by
--- four), rows of a table of two columns, or a list of items.  first is the
--- number of the first line in its file.
---@return table[] blocks each has kind, line, and lines, rows or items
function markup.parse(file, lines, first)
  local blocks, at = {}, 1

  local function fail(what) markup.fail(file, first + at - 1, what) end

  local function add(kind, fields)
    fields.kind, fields.line = kind, first + at - 1
    blocks[#blocks + 1] = fields
    return fields
  end

  local function code()
    local language = lines[at]:match "^```(%l+)$"
    if not LANGUAGES[language] then fail "a block of unknown code" end
    local block = add("code", { language = language, lines = {} })
    repeat
      at = at + 1
      if not lines[at] then fail "a block of code has no end" end
      block.lines[#block.lines + 1] = lines[at]
    until lines[at] == "```"
    block.lines[#block.lines] = nil
    at = at + 1
  end

  local function rows()
    local block = add("table", { rows = {} })
    while lines[at] and lines[at]:find "^|" do
      if not lines[at]:find "^|.*|$" then fail "a row without an end" end
      if not lines[at]:find "^[|%-]+$" then
        local cells = cells_of(lines[at])
        if #cells ~= 2 then fail "a table has two columns" end
        table.insert(block.rows, cells)
      elseif #block.rows ~= 1 then
        fail "a rule of a table stands below its head"
      else
        block.has_head = true
      end
      at = at + 1
    end
  end

  local function list()
    local block = add("list", { items = {} })
    while lines[at] and lines[at]:find "^%* " do
      local item = { lines[at]:sub(3) }
      at = at + 1
      while lines[at] and lines[at]:find "^  %S" do
        item[#item + 1] = trim(lines[at])
        at = at + 1
      end
      table.insert(block.items, item)
    end
  end

  local function literal()
    local block = add("literal", { lines = {} })
    while lines[at] and lines[at]:find "^    " do
      table.insert(block.lines, lines[at]:sub(5))
      at = at + 1
    end
  end

  local function text()
    local block = add("text", { lines = {} })
    while lines[at] and not is_special(lines[at]) do
      if lines[at]:find "^[#>%-+]+%s" or lines[at]:find "^%d+%.%s" or
        lines[at]:find "^%s" or
        lines[at]:find "%]%(" then
        fail(("not understood: %s"):format(lines[at]))
      end
      table.insert(block.lines, lines[at])
      at = at + 1
    end
  end

  for n, line in ipairs(lines) do
    if line:find "[^\32-\126]" then
      at = n
      fail "a byte that is not printable ASCII"
    end
  end
  while at <= #lines do
    local line = lines[at]
    if line == "" then
      at = at + 1
    elseif line:find "^```" then
      code()
    elseif line:find "^|" then
      rows()
    elseif line:find "^%* " then
      list()
    elseif line:find "^    " then
      literal()
    else
      text()
    end
  end
  return blocks
end

--- The chapters of lines under "# " headings, from line number begin to stop.
--- What stands before the first heading belongs to nobody.
---@return table[] chapters each has title, line, blocks
function markup.chapters(file, lines, begin, stop)
  local chapters, chapter = {}, nil
  for n = begin, stop do
    local title = lines[n]:match "^# (.+)$"
    if title then
      chapter = { title = title, line = n, lines = {} }
      chapters[#chapters + 1] = chapter
    elseif chapter then
      table.insert(chapter.lines, lines[n])
    end
  end
  for _, one in ipairs(chapters) do
    one.blocks = markup.parse(file, one.lines, one.line + 1)
    if #one.blocks == 0 then
      markup.fail(file, one.line, "a chapter without text")
    end
  end
  return chapters
end

--- All lines of a file.
function markup.lines_of(path)
  local lines, file = {}, assert(io.open(path))
  for line in file:lines() do lines[#lines + 1] = line end
  file:close()
  return lines
end

return markup
