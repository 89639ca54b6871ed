-- File › Plug-in Manager › catalogd: where the daemon is, how paths are translated, what is written where.

local LrTasks = import "LrTasks"
local LrView = import "LrView"

local Api = require "Api"
local Paths = require "Paths"
local Preferences = require "Preferences"

local bind = LrView.bind
local KEPT = { "address", "path_map", "keyword_parent", "people_parent", "include_copies" }
local LABEL_CHARS = 18

local SettingsProvider = {}

local function labelled(f, title, view)
    return f:row({ f:static_text({ title = title, width_in_chars = LABEL_CHARS }), view })
end

-- Keeps what the dialog shows. An empty field of the token leaves the stored one as it is.
local function keep(properties)
    for _, name in ipairs(KEPT) do
        local value = properties[name]
        if value == nil then value = "" end -- Lightroom's word for a field that was emptied
        Preferences.set(name, value)
    end
    if properties.forget_token then
        Preferences.set_token("")
    elseif (properties.token or "") ~= "" then
        Preferences.set_token(properties.token)
    end
end

local open_now = nil -- the properties of the dialog that is open: later ones must not be touched

local function token_to_try(properties)
    if properties.forget_token then return Preferences.file_token() end
    local typed = (properties.token or ""):gsub("%s+", "")
    return typed ~= "" and typed or Preferences.token()
end

-- With what is typed, before anything is kept.
local function test(properties)
    properties.result = LOC "$$$/Catalogd/Settings/Testing=Asking…"
    LrTasks.startAsyncTask(function()
        local status, failure = Api.try(Preferences.address(properties.address), token_to_try(properties))
        if open_now ~= properties then return end
        if status then
            properties.result = LOC("$$$/Catalogd/Settings/Works=It works: catalogd ^1, photos with results: ^2.", tostring(status.version), tostring(status.catalog.indexed))
        else
            local text, how = Api.problem(failure)
            properties.result = text .. "\n" .. how
        end
    end, "catalogd test")
end

local function check_map(properties)
    local _, problems = Paths.parse(properties.path_map or "")
    properties.map_problem = #problems > 0
        and LOC("$$$/Catalogd/Settings/MapProblem=Not a pair of folders: ^1", problems[1]) or ""
end

function SettingsProvider.startDialog(properties)
    for _, name in ipairs(KEPT) do properties[name] = Preferences.get(name) end
    open_now = properties
    properties.token, properties.forget_token, properties.result = "", false, ""
    properties.token_note = Preferences.has_stored_token()
        and LOC "$$$/Catalogd/Settings/Stored=A token is stored; type another one to replace it."
        or LOC "$$$/Catalogd/Settings/NoToken=catalogd token, in a terminal, prints it. Empty: the one of this machine."
    properties:addObserver("path_map", check_map)
    check_map(properties)
end

-- `why`: "cancel" where a dialog was left; the Plug-in Manager has no such button.
function SettingsProvider.endDialog(properties, why)
    open_now = nil
    if why ~= "cancel" then keep(properties) end
end

local function connection(f)
    return {
        title = LOC "$$$/Catalogd/Settings/Connection=catalogd: connection",
        labelled(f, LOC "$$$/Catalogd/Settings/Address=Address",
            f:edit_field({ value = bind "address", width_in_chars = 40, placeholder_string = Preferences.address() })),
        labelled(f, LOC "$$$/Catalogd/Settings/Token=Token", f:password_field({ value = bind "token", width_in_chars = 40 })),
        f:static_text({ title = bind "token_note" }),
        f:checkbox({ title = LOC "$$$/Catalogd/Settings/Forget=Forget the stored token", value = bind "forget_token" }),
    }
end

local function connection_test(f, properties)
    return f:row({
        f:push_button({ title = LOC "$$$/Catalogd/Settings/Test=Test connection",
                        action = function() test(properties) end }),
        f:static_text({ title = bind "result", width_in_chars = 50, height_in_lines = 4 }),
    })
end

local function path_map(f)
    return {
        title = LOC "$$$/Catalogd/Settings/PathMap=catalogd: path map",
        f:static_text({ title = LOC "$$$/Catalogd/Settings/PathMapHow=Only when catalogd sees the photos under other paths than Lightroom. One pair a line:^nfolder in Lightroom = folder for catalogd, for example /Volumes/Photos = /srv/photos" }),
        f:edit_field({ value = bind "path_map", width_in_chars = 60, height_in_lines = 4 }),
        f:static_text({ title = bind "map_problem", width_in_chars = 60 }),
    }
end

local function policy(f)
    return {
        title = LOC "$$$/Catalogd/Settings/Policy=catalogd: what is written",
        labelled(f, LOC "$$$/Catalogd/Settings/KeywordParent=Keywords below", f:edit_field({ value = bind "keyword_parent" })),
        labelled(f, LOC "$$$/Catalogd/Settings/PeopleParent=People below", f:edit_field({ value = bind "people_parent" })),
        f:checkbox({ title = LOC "$$$/Catalogd/Settings/Copies=Virtual copies get results too",
                     value = bind "include_copies" }),
    }
end

function SettingsProvider.sectionsForTopOfDialog(f, properties)
    local sections = { connection(f), path_map(f), policy(f) }
    table.insert(sections[1], connection_test(f, properties))
    for _, section in ipairs(sections) do
        section.bind_to_object, section.spacing = properties, f:control_spacing()
    end
    return sections
end

return SettingsProvider
