--[[ Plans and what became of them, for people.

    Telling.field(name)          a field of Changes.FIELDS in Lightroom's language
    Telling.counts(plan)         → array of lines: photos for each field
    Telling.kept(plan)           → array of lines: what stays as a person left it
    Telling.skipped(plan)        → array of lines: photos that get nothing
    Telling.examples(plan)       → array of lines: old → new
    Telling.view(f, lines, height) a view that scrolls
]]

local Changes = require "Changes"
local Dialogs = require "Dialogs"

local Telling = {}

local LONGEST = 90 -- characters of a text in the preview

local FIELDS = {
    keywords = LOC "$$$/Catalogd/Write/Keywords=Keywords",
    people = LOC "$$$/Catalogd/Write/People=People (keywords and Person Shown)",
    caption = LOC "$$$/Catalogd/Write/Caption=Caption",
    title = LOC "$$$/Catalogd/Write/TitleField=Title",
    alt_text = LOC "$$$/Catalogd/Write/AltText=Alternative text",
    details = LOC "$$$/Catalogd/Write/Details=Custom fields (quality, sharpness, faces …)",
    rating = LOC "$$$/Catalogd/Write/Rating=Proposed ratings",
    label = LOC "$$$/Catalogd/Write/Label=Proposed colour labels",
    pick = LOC "$$$/Catalogd/Write/Pick=Proposed flags",
    gps = LOC "$$$/Catalogd/Write/Gps=Position",
    place = LOC "$$$/Catalogd/Write/Place=Place names",
}

local function kept_line(field, reason, count)
    if reason == "yours" then return LOC("$$$/Catalogd/Write/Yours=^1: ^2 photos have your own and keep it.", field, count) end
    if reason == "edited" then return LOC("$$$/Catalogd/Write/Edited=^1: you changed what catalogd wrote in ^2 photos; that stays.", field, count) end
    if reason == "emptied" then return LOC("$$$/Catalogd/Write/Emptied=^1: you emptied it in ^2 photos; it stays empty.", field, count) end
    return LOC("$$$/Catalogd/Write/Removed=^1: you took keywords off ^2 photos; they stay off.", field, count)
end

local function skipped_line(reason, count)
    if reason == "video" then return LOC("$$$/Catalogd/Write/SkippedVideo=^1 videos: catalogd looks at photos.", count) end
    if reason == "copy" then return LOC("$$$/Catalogd/Write/SkippedCopy=^1 virtual copies: only masters get results, unless asked for.", count) end
    if reason == "same" then return LOC("$$$/Catalogd/Write/SkippedSame=^1 photos have all of it already.", count) end
    if reason == "failed" then return LOC("$$$/Catalogd/Write/SkippedFailed=^1 photos could not be read by catalogd: run catalogd failures in a terminal.", count) end
    if reason == "missing" then return LOC("$$$/Catalogd/Write/SkippedMissing=^1 photos: their files are gone.", count) end
    if reason == "outside" then return LOC("$$$/Catalogd/Write/SkippedOutside=^1 photos are in no folder of catalogd: add the folder to catalogd run, or set the path map.", count) end
    return LOC("$$$/Catalogd/Write/SkippedUnknown=^1 photos are not analyzed yet: choose Analyze selected photos.", count)
end

local REASONS = { "yours", "edited", "emptied", "removed" }
local SKIPPED = { "unknown", "outside", "failed", "missing", "video", "copy", "same" }

function Telling.field(name)
    return FIELDS[name]
end

function Telling.counts(plan)
    local lines = {}
    for _, row in ipairs(Changes.FIELDS) do
        local number = plan.counts[row[1]]
        if number then lines[#lines + 1] = LOC("$$$/Catalogd/Write/Count=^1: ^2 photos", FIELDS[row[1]], Dialogs.count(number)) end
    end
    return lines
end

function Telling.kept(plan)
    local lines = {}
    for _, row in ipairs(Changes.FIELDS) do
        for _, reason in ipairs(REASONS) do
            local number = (plan.kept[row[1]] or {})[reason]
            if number then lines[#lines + 1] = kept_line(FIELDS[row[1]], reason, Dialogs.count(number)) end
        end
    end
    return lines
end

function Telling.skipped(plan)
    local lines = {}
    for _, reason in ipairs(SKIPPED) do
        local number = plan.skipped[reason]
        if number then lines[#lines + 1] = skipped_line(reason, Dialogs.count(number)) end
    end
    return lines
end

-- Cut between characters.
local function short(text)
    local line = text:gsub("%s+", " ")
    if #line <= LONGEST then return line end
    return (line:sub(1, LONGEST):gsub("[\192-\255][\128-\191]*$", "")) .. "…"
end

function Telling.examples(plan)
    local lines = {}
    for _, example in ipairs(plan.examples) do
        lines[#lines + 1] = example.name
        for _, line in ipairs(example.lines) do
            local old = line.old ~= "" and "“" .. short(line.old) .. "”" or "–"
            local new = line.new ~= "" and "“" .. short(line.new) .. "”" or "–"
            lines[#lines + 1] = "      " .. FIELDS[line.field] .. ": " .. old .. " → " .. new
        end
    end
    return lines
end

function Telling.view(f, lines, height)
    local column = {}
    for _, text in ipairs(lines) do column[#column + 1] = f:static_text({ title = text }) end
    return f:scrolled_view({ width = 640, height = height, f:column(column) })
end

return Telling
