--[[ What a person set in Lightroom, as the API takes it. Pure.

    UserPhotos.of(current, extra) → a UserPhoto of PUT /user-data/lightroom/photos
      current   of Photos.lua
      extra     {path = as catalogd knows it, master_uuid =, collections = array of "Set/Name",
                 is_person = function(keyword)}

  What catalogd itself wrote there and nobody changed is no word of a person's: it is left out, or catalogd would
  take its own guesses for the truth.
]]

local Json = require "Json"
local Words = require "Words"

local UserPhotos = {}

local SAME_DEG = 2e-5 -- two metres: Lightroom keeps a position as degrees and minutes
local EPOCH_S = 978307200 -- 2001-01-01, from which Lightroom counts, in seconds since 1970

-- By colour, because the label's text is of Lightroom's language.
local LABELS = { red = "Red", yellow = "Yellow", green = "Green", blue = "Blue", purple = "Purple" }

local function own(current, key)
    local value, ours = current[key], current.written[key]
    if type(value) == "table" and type(ours) == "table" then
        local off = math.abs(value.latitude - ours.latitude) + math.abs(value.longitude - ours.longitude)
        return off > SAME_DEG and value or nil
    end
    if value == ours then return nil end
    return value
end

local function ours_set(current)
    local set = {}
    for _, field in ipairs({ "keywords", "people" }) do
        for _, path in ipairs(current.written[field] or {}) do set[Words.fold(path)] = true end
    end
    return set
end

local function label_of(current)
    local colour = own(current, "colorNameForLabel")
    if LABELS[colour] then return LABELS[colour] end
    if LABELS[current.colorNameForLabel] then return nil end -- the colour is ours, and so is its name
    return own(current, "label")
end

local function add_once(list, seen, text)
    if seen[text] then return end
    seen[text], list[#list + 1] = true, text
end

local function put_keywords(photo, current, is_person)
    local ours, names, people = ours_set(current), {}, {}
    for place, path in ipairs(current.keywords) do
        if not ours[Words.fold(path)] then
            local name = Words.leaf(path)
            if is_person(current.keyword_objects[place]) then
                add_once(photo.people, people, name)
            else
                add_once(photo.keywords, names, name)
                if path ~= name then photo.keyword_paths[#photo.keyword_paths + 1] = path end
            end
        end
    end
    if own(current, "personShown") then
        for _, name in ipairs(current.people) do add_once(photo.people, people, name) end
    end
end

function UserPhotos.of(current, extra)
    local gps = own(current, "gps") or {}
    local photo = {
        uuid = current.uuid,
        path = extra.path,
        copy_name = current.is_copy and current.copy_name or nil,
        master_uuid = extra.master_uuid,
        rating = own(current, "rating"),
        pick = own(current, "pickStatus"),
        label = label_of(current),
        title = own(current, "title"),
        caption = own(current, "caption"),
        latitude = gps.latitude,
        longitude = gps.longitude,
        city = own(current, "city"),
        region = own(current, "stateProvince"),
        country = own(current, "country"),
        location = own(current, "location"),
        keywords = Json.array({}),
        keyword_paths = Json.array({}),
        people = Json.array({}),
        collections = Json.array(extra.collections),
        changed_at = current.edited_at and current.edited_at + EPOCH_S,
    }
    put_keywords(photo, current, extra.is_person)
    return photo
end

return UserPhotos
