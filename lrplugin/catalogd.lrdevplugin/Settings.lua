-- Library › Plug-in Extras › Settings…: what the Plug-in Manager shows of catalogd, without the way there.

local LrBinding = import "LrBinding"
local LrDialogs = import "LrDialogs"
local LrFunctionContext = import "LrFunctionContext"
local LrView = import "LrView"

local SettingsProvider = require "SettingsProvider"

local function contents(f, properties)
    local column = { bind_to_object = properties, spacing = f:dialog_spacing() }
    for _, section in ipairs(SettingsProvider.sectionsForTopOfDialog(f, properties)) do
        section.fill_horizontal = 1
        column[#column + 1] = f:group_box(section)
    end
    return f:column(column)
end

LrFunctionContext.postAsyncTaskWithContext("catalogd settings", function(context)
    LrDialogs.attachErrorDialogToFunctionContext(context)
    local properties = LrBinding.makePropertyTable(context)
    SettingsProvider.startDialog(properties)
    local result = LrDialogs.presentModalDialog({
        title = LOC "$$$/Catalogd/Settings/Title=Settings of catalogd",
        contents = contents(LrView.osFactory(), properties),
        actionVerb = LOC "$$$/Catalogd/Settings/Do=Save",
    })
    SettingsProvider.endDialog(properties, result)
end)
