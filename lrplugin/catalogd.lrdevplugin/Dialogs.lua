--[[ Dialogs that several menu items show. Every function must be called in a task.

    Dialogs.count(n)                 "12,345"
    Dialogs.photos_to_use(catalog, question, verb) → photos, or nil when the person says no, or there are none
        The selected photos. Without a selection Lightroom would hand out the whole filmstrip: then the
        `question` (of ^1 photos, a localised text as a function of the count) is asked first; `verb` is
        the button's text.
    Dialogs.say(text, info)          a message
    Dialogs.lines(f, texts)          a column of texts
]]

local LrDialogs = import "LrDialogs"
local LrStringUtils = import "LrStringUtils"

local Dialogs = {}

function Dialogs.count(number)
    return LrStringUtils.numberToStringWithSeparators(number, 0)
end

function Dialogs.say(text, info)
    LrDialogs.message(text, info, "info")
end

function Dialogs.photos_to_use(catalog, question, verb)
    local is_selected = catalog:getTargetPhoto() ~= nil
    local photos = catalog:getTargetPhotos()
    if #photos == 0 then
        Dialogs.say(LOC "$$$/Catalogd/Dialogs/NoPhotos=There are no photos here.",
            LOC "$$$/Catalogd/Dialogs/NoPhotosHow=Show a folder or a collection with photos, or select some, and try again.")
        return nil
    end
    if is_selected then return photos end
    local answer = LrDialogs.confirm(question(Dialogs.count(#photos)),
        LOC "$$$/Catalogd/Dialogs/NoSelection=No photo is selected: that means every photo in the filmstrip.", verb)
    return answer == "ok" and photos or nil
end

function Dialogs.lines(f, texts)
    local column = { spacing = f:label_spacing() }
    for _, text in ipairs(texts) do
        column[#column + 1] = f:static_text({ title = text, width_in_chars = 60, height_in_lines = -1 })
    end
    return f:column(column)
end

return Dialogs
