--[[ The names of one file on two machines, and one file's two spellings. Pure.

    Paths.parse(text)                → map, problems     lines of "Lightroom's folder = catalogd's folder"
    Paths.to_daemon(path, map)       → path as catalogd knows it
    Paths.to_lightroom(path, map, windows) → path as Lightroom on this machine would spell it
    Paths.skeleton(path)             → what is left without case, accents and all that is not ASCII

  A map is an array of {lightroom =, daemon =}, both without a slash at the end. The longest prefix that fits
  wins. A folder with a drive letter or of a network share (\\server\share) is compared without regard to case and
  to the direction of its slashes, another folder byte for byte.

  macOS may spell "é" as "e" and an accent (NFD), other systems as one letter (NFC). catalogd matches both;
  Lightroom finds a file only by the spelling that it has itself. Two names of one file have the same skeleton;
  names with the same skeleton may still be two files, so that whoever uses it has to ask the daemon.
]]

local Paths = {}

local function is_windows(path)
    return path:find("^%a:[/\\]") ~= nil or path:find("^%a:$") ~= nil or path:find("^[/\\][/\\][^/\\]") ~= nil
end

local function trimmed(text)
    return (text:gsub("^%s+", ""):gsub("%s+$", ""))
end

-- Without its last slashes; the root keeps its one.
local function folder(text)
    local short = trimmed(text):gsub("(.)[/\\]+$", "%1")
    return short
end

function Paths.parse(text)
    local map, problems = {}, {}
    for line in (text .. "\n"):gmatch("(.-)\r?\n") do
        local left, right = line:match("^(.-)%s+=%s+(.*)$")
        if not left then left, right = line:match("^([^=]+)=([^=]+)$") end
        left, right = folder(left or ""), folder(right or "")
        if left ~= "" and right ~= "" then
            map[#map + 1] = { lightroom = left, daemon = right }
        elseif trimmed(line) ~= "" then
            problems[#problems + 1] = trimmed(line)
        end
    end
    return map, problems
end

-- For comparing: same length as the path, byte for byte.
local function comparable(path, windows)
    if not windows then return path end
    return (path:lower():gsub("\\", "/"))
end

-- What follows `prefix` in `path`, with its slash ("" for the folder itself); nil when it isn't below it.
local function rest_below(path, prefix)
    local windows = is_windows(prefix)
    local whole, start = comparable(path, windows), comparable(prefix, windows)
    if whole:sub(1, #start) ~= start then return nil end
    local rest = path:sub(#prefix + 1)
    if prefix:find("[/\\]$") then return "/" .. rest end -- the root itself
    if rest == "" or rest:find("^/") or (windows and rest:find("^\\")) then return rest end
    return nil
end

local function mapped(path, map, from, to)
    local best, best_rest
    for _, pair in ipairs(map) do
        local rest = rest_below(path, pair[from])
        if rest and (not best or #pair[from] > #best[from]) then best, best_rest = pair, rest end
    end
    if not best then return nil end
    return best[to], best_rest
end

local function with_slashes(rest, slash)
    return (rest:gsub("[/\\]", slash == "\\" and "\\" or "/"))
end

-- A folder and what is below it, in the slashes of the folder's own system. A backslash in a name of
-- a file is only turned where the name comes from Windows.
local function joined(target, rest, from_windows)
    if is_windows(target) then
        rest = with_slashes(rest, "\\")
    elseif from_windows then
        rest = with_slashes(rest, "/")
    end
    return (target:gsub("[/\\]$", "")) .. rest
end

function Paths.to_daemon(path, map)
    local target, rest = mapped(path, map, "lightroom", "daemon")
    if not target then return path end
    return joined(target, rest, is_windows(path))
end

-- `windows`: whether Lightroom runs there, which says how a path that no map names is spelled.
function Paths.to_lightroom(path, map, windows)
    local target, rest = mapped(path, map, "daemon", "lightroom")
    if target then return joined(target, rest, is_windows(path)) end
    if windows and is_windows(path) then return with_slashes(path, "\\") end
    return path
end

-- Combining marks (U+0300 to U+036F) go with the letter that carries them, then all that is not ASCII.
function Paths.skeleton(path)
    local plain = path:gsub("[%z\1-\127]\204[\128-\191]", ""):gsub("[%z\1-\127]\205[\128-\175]", "")
    return (plain:gsub("[\128-\255]+", ""):gsub("\\", "/"):lower())
end

return Paths
