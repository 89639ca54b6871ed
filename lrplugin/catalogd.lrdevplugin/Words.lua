--[[ Names as Lightroom's keywords can have them, and keywords' paths. Pure.

    Words.clean(name)        a name without what separates keywords (, ; |), control characters and spare spaces
    Words.fold(text)         for comparing without regard to case: Latin, Greek and Cyrillic letters
    Words.path(levels)       {"Animals", "Dog"} → "Animals|Dog": each level cleaned, empty ones left out
    Words.levels(path)       "Animals|Dog" → {"Animals", "Dog"}
    Words.leaf(path)         "Dog"
    Words.below(parent, path) the path under the parent; a path that is there already stays as it is
    Words.is_below(parent, path)
]]

local Words = {}

local LONGEST = 200 -- bytes of a name: more is a sentence, and no keyword

-- Cut between characters, never inside one.
local function shortened(name)
    if #name <= LONGEST then return name end
    local last = LONGEST
    while last > 0 and name:byte(last + 1) >= 128 and name:byte(last + 1) < 192 do last = last - 1 end
    return (name:sub(1, last):gsub("%s+$", ""))
end

function Words.clean(name)
    local clean = name:gsub("[,;|%c]", " "):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
    return shortened(clean)
end

-- ── case ─────────────────────────────────────────────────────────────────────────────────────────

-- Code points whose capitals come as pairs: an even capital and the odd small letter after it …
local EVEN_PAIRS = { { 0x100, 0x137 }, { 0x14A, 0x177 }, { 0x460, 0x481 }, { 0x48A, 0x4BF }, { 0x4D0, 0x52F } }
local ODD_PAIRS = { { 0x139, 0x148 }, { 0x179, 0x17E } } -- … or an odd capital
local SHIFTED = { { 0xC0, 0xDE, 32 }, { 0x391, 0x3A9, 32 }, { 0x410, 0x42F, 32 }, { 0x400, 0x40F, 80 } }
local ALONE = { [0xD7] = 0xD7, [0x130] = 0x69, [0x131] = 0x131, [0x178] = 0xFF, [0x386] = 0x3AC, [0x388] = 0x3AD,
                [0x389] = 0x3AE, [0x38A] = 0x3AF, [0x38C] = 0x3CC, [0x38E] = 0x3CD, [0x38F] = 0x3CE }

local function within(ranges, code)
    for _, range in ipairs(ranges) do
        if code >= range[1] and code <= range[2] then return range end
    end
    return nil
end

local function small_code(code)
    if ALONE[code] then return ALONE[code] end
    local shift = within(SHIFTED, code)
    if shift then return code + shift[3] end
    if code % 2 == 0 and within(EVEN_PAIRS, code) then return code + 1 end
    if code % 2 == 1 and within(ODD_PAIRS, code) then return code + 1 end
    return code
end

-- One character of two bytes, U+0080 to U+07FF.
local function small_letter(first, second)
    local code = small_code((first:byte() - 192) * 64 + second:byte() - 128)
    if code < 128 then return string.char(code) end
    return string.char(192 + math.floor(code / 64), 128 + code % 64)
end

function Words.fold(text)
    local ascii = text:gsub("[A-Z]", string.lower)
    return (ascii:gsub("([\195-\212])([\128-\191])", small_letter))
end

-- ── paths ────────────────────────────────────────────────────────────────────────────────────────

function Words.levels(path)
    local levels = {}
    for level in path:gmatch("[^|]+") do levels[#levels + 1] = level end
    return levels
end

function Words.path(levels)
    local clean = {}
    for _, level in ipairs(levels) do
        local name = Words.clean(level)
        if name ~= "" then clean[#clean + 1] = name end
    end
    return table.concat(clean, "|")
end

function Words.leaf(path)
    return path:match("[^|]*$")
end

function Words.is_below(parent, path)
    if parent == "" then return true end
    local start = Words.fold(parent) .. "|"
    return Words.fold(path):sub(1, #start) == start
end

function Words.below(parent, path)
    if Words.is_below(parent, path) then return path end
    return parent .. "|" .. path
end

return Words
