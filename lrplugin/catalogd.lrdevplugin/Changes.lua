--[[ What is to be written into Lightroom for a photo, and what is to be taken back. Pure.

    Changes.FIELDS                     the fields in the order of dialogs: {name, by_default}
    Changes.of(current, results, policy) → change
    Changes.back(current)              → change, that takes back what catalogd wrote and nobody changed since
    Changes.is_empty(change)           nothing is to be done
    Changes.lines(change)              → array of {field =, old =, new =}, one for each field, for people

  current   what Lightroom has (Photos.lua): {caption =, title =, …, keywords = array of paths "A|B", details =
            {id = text}, written = what `written` below was when it was last written, or {}}
  results   what the API says of a photo (POST /photos/lookup)
  policy    {fields = {name = true}, parent = "catalogd", people_parent = "People", alt_text = whether Lightroom has it}
  change    {values = array of {field =, key =, old =, new =}, `new` nil to empty it,
             add = array of {field =, path =}, remove = the same,
             details = {id = text, or false to empty it}, before = {id = text of before},
             written = what is ours afterwards,
             kept = {field → "yours" | "emptied" | "removed" | "edited"}}

  Somebody's own work counts first. A value is written where there is none, or where the one that is there is the
  one that catalogd wrote. What somebody changed, emptied or took off after that is never touched again. The parts
  of a place are one statement: with one of them set by somebody, none is written.
]]

local Words = require "Words"

local Changes = {}

Changes.FIELDS = {
    { "keywords", true },
    { "people", true },
    { "caption", true },
    { "title", true },
    { "alt_text", true },
    { "details", true },
    { "rating", false },
    { "label", false },
    { "pick", false },
    { "gps", false },
    { "place", false },
}

-- The custom fields of MetadataProvider.lua that people see.
Changes.DETAILS = { "quality", "sharpness", "faces", "captionSource", "photoId" }

local COLOURS = { red = true, yellow = true, green = true, blue = true, purple = true }
local SAME_DEG = 1e-5 -- a metre: Lightroom keeps a position as degrees and minutes

-- ── values ───────────────────────────────────────────────────────────────────────────────────────

-- What Lightroom has where nothing is set.
local NOTHING = { pickStatus = 0, colorNameForLabel = "none" }

local function is_nothing(key, value)
    return value == nil or value == "" or value == NOTHING[key]
end

local function same(old, new)
    if type(old) == "table" and type(new) == "table" then
        return math.abs(old.latitude - new.latitude) < SAME_DEG
            and math.abs(old.longitude - new.longitude) < SAME_DEG
    end
    return old == new
end

-- As a text field keeps it, so that what is read back is what was written.
local function text_or_nil(text)
    if type(text) ~= "string" then return nil end
    local plain = text:gsub("\r\n?", "\n"):gsub("^%s+", ""):gsub("%s+$", "")
    return plain ~= "" and plain or nil
end

local function line_or_nil(text)
    return type(text) == "string" and text_or_nil(text:gsub("%s*[\r\n]+%s*", " ")) or nil
end

-- A label by its colour where it is one, because its name is of Lightroom's language.
local function proposed_label(proposal)
    local label = text_or_nil(proposal.label)
    if not label then return {} end
    local colour = label:lower()
    if COLOURS[colour] then return { colorNameForLabel = colour } end
    return { label = label }
end

local function proposed_rating(proposal)
    local stars = proposal.rating
    if type(stars) ~= "number" or stars < 1 or stars > 5 then return {} end
    return { rating = math.floor(stars) }
end

-- A rejected photo has -1 stars elsewhere, and a flag in Lightroom.
local function proposed_pick(proposal)
    local pick = proposal.pick
    if proposal.rating == -1 then pick = -1 end
    if pick ~= 1 and pick ~= -1 then return {} end
    return { pickStatus = pick }
end

local function people_text(results)
    local names = {}
    for _, name in ipairs(results.people or {}) do
        local clean = Words.clean(name)
        if clean ~= "" then names[#names + 1] = clean end
    end
    return text_or_nil(table.concat(names, ", "))
end

-- field → {key = value} of what catalogd would say there.
local SAYS = {
    caption = function(results) return { caption = text_or_nil((results.caption or {}).text) } end,
    title = function(results) return { title = line_or_nil(results.title) } end,
    alt_text = function(results) return { altTextAccessibility = text_or_nil(results.alt_text) } end,
    people = function(results) return { personShown = people_text(results) } end,
    rating = function(results) return proposed_rating(results.rating_proposal or {}) end,
    label = function(results) return proposed_label(results.rating_proposal or {}) end,
    pick = function(results) return proposed_pick(results.rating_proposal or {}) end,
    gps = function(results)
        if not (results.latitude and results.longitude) then return {} end
        return { gps = { latitude = results.latitude, longitude = results.longitude } }
    end,
    place = function(results)
        local place = results.place or {}
        return { city = text_or_nil(place.city), stateProvince = text_or_nil(place.region),
                 country = text_or_nil(place.country), isoCountryCode = text_or_nil(place.country_code) }
    end,
}

-- The keys of a field: they are one statement.
local KEYS = {
    caption = { "caption" },
    title = { "title" },
    alt_text = { "altTextAccessibility" },
    people = { "personShown" },
    rating = { "rating" },
    label = { "colorNameForLabel", "label" },
    pick = { "pickStatus" },
    gps = { "gps" },
    place = { "city", "stateProvince", "country", "isoCountryCode" },
}

-- A label's text follows its colour: Lightroom sets it to the colour's name in its language.
local function is_led(current, key)
    return key == "label" and not is_nothing("colorNameForLabel", current.colorNameForLabel)
end

-- Why a statement must be left alone: "yours", "emptied", or nil.
local function kept_because(current, written, keys)
    for _, key in ipairs(keys) do
        local value, ours = current[key], written[key]
        if not is_led(current, key) and not same(value, ours) then
            if not is_nothing(key, value) then return ours == nil and "yours" or "edited" end
            if ours ~= nil then return "emptied" end
        end
    end
    return nil
end

local function put_values(change, current, field, said)
    local keys = KEYS[field]
    if next(said) == nil then return end
    local differs = false
    for _, key in ipairs(keys) do
        local concerns_us = said[key] ~= nil or change.written[key] ~= nil
        differs = differs or (concerns_us and not same(current[key], said[key]))
    end
    if not differs then return end
    local reason = kept_because(current, change.written, keys)
    if reason then
        change.kept[field] = reason
        return
    end
    for _, key in ipairs(keys) do
        local old, new = current[key], said[key]
        if is_led(current, key) then new = old end
        if not same(old, new) and not (new == nil and is_nothing(key, old)) then
            change.values[#change.values + 1] = { field = field, key = key, old = old, new = new }
        end
        if not is_led(current, key) then change.written[key] = new end
    end
end

-- ── keywords ─────────────────────────────────────────────────────────────────────────────────────

local function folded_set(paths)
    local set = {}
    for _, path in ipairs(paths) do set[Words.fold(path)] = true end
    return set
end

local function folded_leaves(paths)
    local set = {}
    for _, path in ipairs(paths) do set[Words.fold(Words.leaf(path))] = true end
    return set
end

local function each_once(paths)
    local known, list = {}, {}
    for _, path in ipairs(paths) do
        local folded = Words.fold(path)
        if Words.leaf(path) ~= "" and not known[folded] then
            known[folded] = true
            list[#list + 1] = path
        end
    end
    return list
end

-- The keywords of tags, things and places, as the settings and the vocabulary of catalogd name them.
local function said_keywords(results, policy)
    local paths = {}
    for _, keyword in ipairs(results.keywords or {}) do
        if keyword.kind ~= "person" then
            local path = Words.path(Words.levels(keyword.path or keyword.name or ""))
            if path ~= "" then paths[#paths + 1] = Words.below(policy.parent, path) end
        end
    end
    return each_once(paths)
end

local function said_people(results, policy)
    local paths = {}
    for _, name in ipairs(results.people or {}) do
        local path = Words.clean(name)
        for _, above in ipairs({ policy.people_parent, policy.parent }) do
            if above ~= "" then path = above .. "|" .. path end
        end
        paths[#paths + 1] = path
    end
    return each_once(paths)
end

-- `skip`: folded names of keywords that the photo has already, wherever they stand.
local function put_keywords(change, current, field, said, skip)
    local ours_before = change.written[field] or {}
    local has, ours, wanted = folded_set(current.keywords), folded_set(ours_before), folded_set(said)
    local ours_now = {}
    for _, path in ipairs(said) do
        local folded = Words.fold(path)
        if ours[folded] then
            ours_now[#ours_now + 1] = path
            if not has[folded] then change.kept[field] = "removed" end
        elseif not has[folded] and not skip[Words.fold(Words.leaf(path))] then
            change.add[#change.add + 1] = { field = field, path = path }
            ours_now[#ours_now + 1] = path
        end
    end
    for _, path in ipairs(ours_before) do
        local folded = Words.fold(path)
        if not wanted[folded] and has[folded] then
            change.remove[#change.remove + 1] = { field = field, path = path }
        end
    end
    change.written[field] = #ours_now > 0 and ours_now or nil
end

-- ── custom fields ────────────────────────────────────────────────────────────────────────────────

local function said_details(results, caption_is_ours)
    return {
        quality = text_or_nil(results.quality_band),
        sharpness = results.sharpness and string.format("%03d", math.floor(results.sharpness + 0.5)) or nil,
        faces = results.faces and string.format("%d", results.faces) or nil,
        captionSource = caption_is_ours and text_or_nil((results.caption or {}).model) or nil,
        photoId = results.photo_id and string.format("%.0f", results.photo_id) or nil,
    }
end

local function put_details(change, current, said)
    for _, id in ipairs(Changes.DETAILS) do
        if current.details[id] ~= said[id] then
            change.details[id], change.before[id] = said[id] or false, current.details[id]
        end
    end
end

-- ── a photo ──────────────────────────────────────────────────────────────────────────────────────

local function new_change(written)
    local copy = {}
    for key, value in pairs(written) do copy[key] = value end
    return { values = {}, add = {}, remove = {}, details = {}, before = {}, written = copy, kept = {} }
end

function Changes.of(current, results, policy)
    local change, fields = new_change(current.written), policy.fields
    for _, row in ipairs(Changes.FIELDS) do
        local field = row[1]
        if fields[field] and SAYS[field] and (field ~= "alt_text" or policy.alt_text) then
            put_values(change, current, field, SAYS[field](results))
        end
    end
    if fields.keywords then put_keywords(change, current, "keywords", said_keywords(results, policy), {}) end
    if fields.people then
        put_keywords(change, current, "people", said_people(results, policy), folded_leaves(current.keywords))
    end
    if fields.details then
        local caption = current.caption
        for _, value in ipairs(change.values) do
            if value.key == "caption" then caption = value.new end
        end
        local is_ours = change.written.caption ~= nil and change.written.caption == caption
        put_details(change, current, said_details(results, is_ours))
    end
    return change
end

local function field_of_key()
    local found = {}
    for field, keys in pairs(KEYS) do
        for _, key in ipairs(keys) do found[key] = field end
    end
    return found
end

local FIELD_OF_KEY = field_of_key()

local function take_back_values(change, current)
    local keys = {}
    for key in pairs(current.written) do
        if FIELD_OF_KEY[key] then keys[#keys + 1] = key end
    end
    table.sort(keys)
    for _, key in ipairs(keys) do
        local field = FIELD_OF_KEY[key]
        if same(current[key], current.written[key]) then
            change.values[#change.values + 1] = { field = field, key = key, old = current[key], new = nil }
        elseif not is_nothing(key, current[key]) then
            change.kept[field] = "edited"
        end
    end
end

function Changes.back(current)
    local change = new_change({})
    take_back_values(change, current)
    local has = folded_set(current.keywords)
    for _, field in ipairs({ "keywords", "people" }) do
        for _, path in ipairs(current.written[field] or {}) do
            if has[Words.fold(path)] then change.remove[#change.remove + 1] = { field = field, path = path } end
        end
    end
    put_details(change, current, {})
    return change
end

-- ── for people ───────────────────────────────────────────────────────────────────────────────────

function Changes.is_empty(change)
    return #change.values == 0 and #change.add == 0 and #change.remove == 0 and next(change.details) == nil
end

local function shown(value)
    if value == nil or value == false then return "" end
    if type(value) == "table" then return string.format("%.5f, %.5f", value.latitude, value.longitude) end
    return tostring(value)
end

local function add_to(lines, field, old, new)
    local line = lines[field] or { field = field, old = {}, new = {} }
    lines[field] = line
    if old ~= "" then line.old[#line.old + 1] = old end
    if new ~= "" then line.new[#line.new + 1] = new end
end

function Changes.lines(change)
    local by_field, lines = {}, {}
    for _, value in ipairs(change.values) do
        add_to(by_field, value.field, is_nothing(value.key, value.old) and "" or shown(value.old), shown(value.new))
    end
    for _, keyword in ipairs(change.add) do add_to(by_field, keyword.field, "", keyword.path) end
    for _, keyword in ipairs(change.remove) do add_to(by_field, keyword.field, keyword.path, "") end
    for _, id in ipairs(Changes.DETAILS) do
        local new = change.details[id]
        if new ~= nil then add_to(by_field, "details", change.before[id] or "", shown(new)) end
    end
    for _, row in ipairs(Changes.FIELDS) do
        local line = by_field[row[1]]
        if line then
            line.old, line.new = table.concat(line.old, ", "), table.concat(line.new, ", ")
            lines[#lines + 1] = line
        end
    end
    return lines
end

return Changes
