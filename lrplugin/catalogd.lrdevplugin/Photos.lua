--[[ What Lightroom has of photos, in three batch reads for all of them. Every function must be called in a task.

    Photos.reader(catalog) → read
    read(photos)           → {photo → current}: see Changes.lua, and also
        uuid, path, name, is_video, master (uuid of a virtual copy's master, else nil), copy_name, edited_at
        (Lightroom's seconds), location, people (array), keyword_objects = array as `keywords`
    Photos.has_alt_text()  whether this Lightroom has alternative texts (13.2 and later)
]]

local LrApplication = import "LrApplication"

local Batches = require "Batches"
local Changes = require "Changes"
local Json = require "Json"
local Keywords = require "Keywords"

local Photos = {}

local RAW = { "uuid", "path", "isVideo", "isVirtualCopy", "rating", "pickStatus", "colorNameForLabel", "gps",
              "keywords", "lastEditTime" }
local FORMATTED = { "fileName", "copyName", "title", "caption", "label", "city", "stateProvince", "country",
                    "isoCountryCode", "location", "personShown" }
local TEXTS = { "title", "caption", "label", "city", "stateProvince", "country", "isoCountryCode", "location",
                "personShown", "altTextAccessibility" }

-- The types of what is noted of a photo in `written`.
local WRITTEN = { gps = "table", keywords = "table", people = "table", rating = "number", pickStatus = "number",
                  colorNameForLabel = "string" }
for _, key in ipairs(TEXTS) do WRITTEN[key] = "string" end

function Photos.has_alt_text()
    local version = LrApplication.versionTable()
    return version.major > 13 or (version.major == 13 and version.minor >= 2)
end

local function formatted_keys()
    local keys = {}
    for place, key in ipairs(FORMATTED) do keys[place] = key end
    if Photos.has_alt_text() then keys[#keys + 1] = "altTextAccessibility" end
    return keys
end

local function property_keys()
    local keys = { "written" }
    for _, id in ipairs(Changes.DETAILS) do keys[#keys + 1] = id end
    return keys
end

-- Of another version of the plug-in, or broken, it may hold anything: what is not understood is nobody's.
local function written_of(text)
    local found, written = text and Json.decode(text), {}
    for key, value in pairs(type(found) == "table" and found or {}) do
        local fits = WRITTEN[key] == type(value)
        if fits and key == "gps" then fits = tonumber(value.latitude) and tonumber(value.longitude) end
        if fits then written[key] = value end
    end
    for _, field in ipairs({ "keywords", "people" }) do
        for _, path in ipairs(written[field] or {}) do
            if type(path) ~= "string" then written[field] = nil end
        end
    end
    return written
end

-- Lightroom shows several names in one line of text.
local function names_of(text)
    local names = {}
    for name in (text or ""):gmatch("[^,;]+") do
        local trimmed = name:gsub("^%s+", ""):gsub("%s+$", "")
        if trimmed ~= "" then names[#names + 1] = trimmed end
    end
    return names
end

local function current_of(values, path_of)
    local current = { uuid = values.uuid, path = values.path, name = values.fileName, is_video = values.isVideo,
                      is_copy = values.isVirtualCopy, copy_name = values.copyName, edited_at = values.lastEditTime,
                      rating = values.rating, pickStatus = values.pickStatus, gps = values.gps,
                      colorNameForLabel = values.colorNameForLabel, keywords = {}, details = {},
                      keyword_objects = values.keywords or {}, people = names_of(values.personShown),
                      written = written_of(values.written) }
    for _, key in ipairs(TEXTS) do
        if values[key] ~= "" then current[key] = values[key] end
    end
    for place, keyword in ipairs(current.keyword_objects) do current.keywords[place] = path_of(keyword) end
    for _, id in ipairs(Changes.DETAILS) do current.details[id] = values[id] end
    return current
end

function Photos.reader(catalog)
    local path_of, formatted, properties = Keywords.reader(), formatted_keys(), property_keys()
    return function(photos)
        local found = {}
        for photo, values in pairs(Batches.read(catalog, photos, RAW, formatted, properties)) do
            found[photo] = current_of(values, path_of)
        end
        return found
    end
end

return Photos
