--- mdoc -- writes mdoc(7): text that is escaped and filled, code that can be
--- copied from the page as it is.
---
--- Fonts are set by escapes, not by macros: a macro's arguments may be macros
--- themselves, and punctuation beside them has rules of its own.
---
--- SPDX-License-Identifier: MIT
local mdoc = {}

local WIDTH = 76 -- of the lines of the source
-- Marks for fonts in text that is not escaped yet.
local BOLD, ITALIC, PLAIN = "\1", "\2", "\3"
local FONTS = { [BOLD] = "\\fB", [ITALIC] = "\\fI", [PLAIN] = "\\fR" }

local CODE = {
  ["\\"] = "\\e", ["-"] = "\\-", ["'"] = "\\(aq", ["`"] = "\\(ga",
  ["^"] = "\\(ha", ["~"] = "\\(ti",
}

--- Escapes code: every character comes out as itself, in ASCII.
function mdoc.code(s) return (s:gsub("[\\%-'`^~]", CODE)) end

--- Quotes an argument of a macro.
function mdoc.argument(s)
  return '"' .. mdoc.code(s):gsub('"', "\\(dq") .. '"'
end

-- A request stands at the begin of a line.
local function guard(line)
  return line:find "^[.']" and "\\&" .. line or line
end

-- Names of which a field or a function is code wherever it stands.
local OWNERS = {}
for name in ([[fcgi req part task sock socket channel process program counter
  gauge ngx bridge mock app table string package coroutine os io debug
  math ssl]]):gmatch "%S+" do
  OWNERS[name] = true
end

-- Marks names in text that stands outside of backticks.
local function mark_names(text)
  text = text:gsub("(fcgi%-lua[%l%-]*)(%(%d%))", BOLD .. "%1" .. PLAIN .. "%2")
  return (text:gsub("[%w_.:/%-]+", function(word)
    local tail = word:match "[.:%-]*$"
    local name = word:sub(1, #word - #tail)
    local owner = name:match "^(%a+)[.:]%a[%w_]*$"
    if owner and OWNERS[owner] or name:find "^%a+_[%w_]+$" or
      name:find "^%-%-%a" then
      return BOLD .. name .. PLAIN .. tail
    end
  end))
end

-- A word of text: "file-like" has a hyphen, "multipart/form-data" a minus.
local function escape_word(word)
  local bare = word:gsub("^%(", ""):gsub("[).,;:]+$", "")
  local is_prose = bare:find "^%l%l+%-[%l%-]+%l$" and
    not bare:find "^lua%-" and not bare:find "^fcgi%-"
  local out = word:gsub("[\\%-'`^~]", function(c)
    if c == "-" and is_prose then return "-" end
    return CODE[c]
  end)
  out = out:gsub("(%a)\\%(aq(%a)", "%1'%2"):gsub("(s)\\%(aq$", "%1'")
  return out
end

-- The words of a paragraph, with marks for fonts; false stands for the end of
-- a sentence.
local function words_of(lines, complain)
  local text = table.concat(lines, "\n")
  if select(2, text:gsub("`", "")) % 2 ~= 0 then
    complain "a backtick without another"
  end
  local marked = (text .. "``"):gsub("([^`]*)`([^`]*)`", function(plain, code)
    if code == "" then return mark_names(plain) end
    return mark_names(plain) .. BOLD .. code .. PLAIN
  end)
  local words = {}
  for word, space in marked:gmatch "(%S+)(%s*)" do
    words[#words + 1] = word
    local next_is_upper = space:find "\n" or space:find "^  "
    if word:find "[.?!][)\"]*$" and next_is_upper then
      words[#words + 1] = false
    end
  end
  return words
end

-- Escapes a word that may have marks; is_bold says how it begins.
local function show_word(word, is_bold)
  local out, at = {}, 1
  while at <= #word do
    local mark = word:find("[\1-\3]", at)
    local piece = word:sub(at, (mark or #word + 1) - 1)
    out[#out + 1] = is_bold and mdoc.code(piece) or escape_word(piece)
    if not mark then break end
    is_bold = word:sub(mark, mark) == BOLD
    out[#out + 1] = FONTS[word:sub(mark, mark)]
    at = mark + 1
  end
  return table.concat(out), is_bold
end

--- Fills text: names and what stands in backticks are bold; a sentence ends its
--- line, as roff wants it.
---@return string[] lines
function mdoc.text(lines, complain)
  local out, line, is_bold = {}, "", false
  local function flush(is_sentence)
    if line == "" then return end
    -- A full stop at the end of a line would end a sentence.
    if not is_sentence and line:find "[.?!][)\"]*$" then
      line = line .. "\\&"
    end
    out[#out + 1] = guard(line)
    line = ""
  end
  local words = words_of(lines, complain)
  for n, word in ipairs(words) do
    if word then
      local shown
      shown, is_bold = show_word(word, is_bold)
      if line ~= "" and #line + #shown >= WIDTH then flush(false) end
      line = line == "" and shown or line .. " " .. shown
    else
      flush(true)
    end
    if n == #words then flush(true) end
  end
  return out
end

-- A page being written.
local Page = {}
Page.__index = Page

--- Makes a page; complain(what) is called for what cannot be written.
function mdoc.page(complain)
  return setmetatable({ out = {}, complain = complain }, Page)
end

--- Adds a line as it is.
function Page:line(...)
  table.insert(self.out, string.format(...))
  self.after = nil
end

function Page:section(title)
  self:line(".Sh %s", mdoc.argument(title:upper()))
  self.after = "head"
end

function Page:subsection(title)
  self:line(".Ss %s", mdoc.argument(title))
  self.after = "head"
end

--- Separates what follows from what was before, where that does not happen
--- anyway.
function Page:paragraph()
  if self.after ~= "head" then self:line(".Pp") end
end

--- Adds a paragraph: a string, or a list of lines.
function Page:text(lines, complain)
  if type(lines) == "string" then lines = { lines } end
  self:paragraph()
  for _, line in ipairs(mdoc.text(lines, complain or self.complain)) do
    self:line("%s", line)
  end
  self.after = "text"
end

--- Adds lines of code.
function Page:code(lines)
  self:line(".Bd -literal -offset 4n")
  for _, line in ipairs(lines) do
    self:line("%s", guard(mdoc.code(line)))
  end
  self:line(".Ed")
end

--- Adds a list of { tag, text } pairs; text is a string, a list of lines, or a
--- function that writes the item's text.  options: italic (tags, which are bold
--- otherwise), compact, hang (the text begins below its tag), marked (tags are
--- text themselves), raw (tags are mdoc already).
function Page:tags(pairs_of, options)
  options = options or {}
  local width = 0
  for _, pair in ipairs(pairs_of) do
    width = math.max(width, #pair[1]:gsub("[`%c]", ""))
  end
  self:line(".Bl -tag -width %s%s",
    options.hang and "2n" or math.min(width + 1, 24) .. "n",
    options.compact and " -compact" or "")
  for _, pair in ipairs(pairs_of) do
    local tag, text = pair[1], pair[2]
    if options.raw then
      self:line(".It %s", (tag:gsub('"', "\\(dq")))
    elseif options.marked then
      self:line(".It %s", (table.concat(mdoc.text({ tag }, self.complain), " ")
        :gsub('"', "\\(dq")))
    else
      self:line(".It %s %s", options.italic and "Em" or "Sy",
        mdoc.argument(tag))
    end
    self.after = "head"
    if type(text) == "function" then
      text()
    elseif #text > 0 then
      self:text(text)
    end
  end
  self:line(".El")
end

--- Adds blocks of markup.parse.
function Page:blocks(blocks, file, fail)
  for _, block in ipairs(blocks) do
    local function complain(what) fail(file, block.line, what) end
    if block.kind == "text" then
      self:text(block.lines, complain)
    elseif block.kind == "table" then
      self.complain = complain
      local rows = { table.unpack(block.rows) }
      if block.has_head then
        rows[1] = { ITALIC .. rows[1][1] .. PLAIN,
          ITALIC .. rows[1][2] .. PLAIN }
      end
      self:paragraph()
      self:tags(rows, { marked = true, compact = true })
    elseif block.kind == "list" then
      self:line(".Bl -bullet")
      for _, item in ipairs(block.items) do
        self:line(".It")
        self.after = "head"
        self:text(item, complain)
      end
      self:line(".El")
    else -- code, literal
      self:code(block.lines)
    end
  end
end

--- The page, as it goes to its file.
function Page:source() return table.concat(self.out, "\n") .. "\n" end

return mdoc
