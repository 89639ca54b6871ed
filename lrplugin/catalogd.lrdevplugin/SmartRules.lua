--[[ Smart collections over what catalogd says. Pure.

    SmartRules.all(toolkit) → array of {id =, rules =} ; `rules`: a search description of Lightroom's

  A custom field is a text to Lightroom: rules on it are of texts alone, so that numbers are compared by their digits.
]]

local SmartRules = {}

local function every(...)
    return { combine = "intersect", ... }
end

local function any(...)
    return { combine = "union", ... }
end

function SmartRules.all(toolkit)
    local function field(id, operation, value)
        local criteria = "sdktext:" .. toolkit .. "." .. id
        return { criteria = criteria, operation = operation, value = value or "", value2 = "" }
    end
    local unrated = { criteria = "rating", operation = "==", value = 0, value2 = 0 }
    local unflagged = { criteria = "pick", operation = "==", value = 0, value2 = 0 }
    return {
        { id = "sharp", rules = every(field("quality", "==", "sharp"), unrated) },
        { id = "sharpest", rules = any(field("sharpness", "beginsWith", "09"), field("sharpness", "==", "100")) },
        { id = "blurred", rules = every(field("quality", "==", "blurred"), unflagged) },
        { id = "light", rules = any(field("quality", "==", "dark"), field("quality", "==", "bright")) },
        { id = "one_face", rules = every(field("faces", "==", "1")) },
        {
            id = "groups",
            rules = every(field("faces", "notEmpty"), field("faces", "!=", "0"), field("faces", "!=", "1"),
                field("faces", "!=", "2")),
        },
        { id = "captions", rules = every(field("captionSource", "notEmpty")) },
        { id = "unknown", rules = every(field("photoId", "empty")) },
    }
end

return SmartRules
