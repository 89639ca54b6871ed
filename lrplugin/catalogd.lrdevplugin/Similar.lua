-- Library › Plug-in Extras › Find similar…: photos like the selected ones, changed by words if wished.

local LrApplication = import "LrApplication"
local LrBinding = import "LrBinding"
local LrDialogs = import "LrDialogs"
local LrFunctionContext = import "LrFunctionContext"
local LrView = import "LrView"

local Api = require "Api"
local Dialogs = require "Dialogs"
local Finding = require "Finding"
local Matching = require "Matching"
local Preferences = require "Preferences"

local MOST_EXAMPLES = 20 -- more of them are like everything
local bind = LrView.bind

-- The photo_ids of what is selected, and the first one's name; nil when there are none, which it says.
local function examples(catalog)
    local photos = catalog:getTargetPhoto() and catalog:getTargetPhotos() or {}
    if #photos == 0 or #photos > MOST_EXAMPLES then
        return Dialogs.say(LOC("$$$/Catalogd/Similar/Select=Select one photo, or up to ^1, to find others like them.", MOST_EXAMPLES))
    end
    local rows, failure = Matching.lookup(catalog, photos, { "summary" })
    if not rows then return Api.report(failure) end
    local ids = {}
    for _, photo in ipairs(photos) do
        if rows[photo].photo_id then ids[#ids + 1] = rows[photo].photo_id end
    end
    if #ids > 0 then return ids, catalog:batchGetFormattedMetadata(photos, { "fileName" })[photos[1]].fileName end
    Dialogs.say(LOC "$$$/Catalogd/Similar/Unknown=catalogd does not know the selected photos yet.",
        LOC "$$$/Catalogd/Similar/UnknownHow=Choose Library > Plug-in Extras > Analyze selected photos first.")
end

local function ask(context, count)
    local f, properties = LrView.osFactory(), LrBinding.makePropertyTable(context)
    properties.words, properties.limit = "", Preferences.get("search_limit")
    properties.select = Preferences.get("select_in_grid")
    local result = LrDialogs.presentModalDialog({
        title = LOC "$$$/Catalogd/Similar/Title=Find similar photos",
        actionVerb = LOC "$$$/Catalogd/Similar/Do=Find",
        contents = f:column({
            bind_to_object = properties,
            spacing = f:control_spacing(),
            f:static_text({ title = LOC("$$$/Catalogd/Similar/Like=Like the selected photos (^1), and also, if you wish:", count) }),
            f:edit_field({ value = bind "words", immediate = true, width_in_chars = 40 }),
            f:static_text({ title = LOC "$$$/Catalogd/Similar/Hint=for example: but at night, or camera:nikon" }),
            f:popup_menu({ value = bind "limit", items = Finding.limits() }),
            f:checkbox({ title = LOC "$$$/Catalogd/Search/Select=Select them in the grid", value = bind "select" }),
        }),
    })
    return result == "ok" and properties or nil
end

LrFunctionContext.postAsyncTaskWithContext("catalogd similar", function(context)
    LrDialogs.attachErrorDialogToFunctionContext(context)
    local catalog = LrApplication.activeCatalog()
    local ids, name = examples(catalog)
    if not ids then return end
    local asked = ask(context, #ids)
    if not asked then return end
    local answer, failure = Api.call("similar", { body = { photo_ids = ids, q = asked.words, limit = asked.limit } })
    if not answer then return Api.report(failure) end
    local title = LOC("$$$/Catalogd/Similar/Name=Like ^1", name) .. (asked.words ~= "" and ", " .. asked.words or "")
    Finding.show(context, catalog, answer, title, asked.select)
end)
