-- Library › Plug-in Extras › Status: what catalogd knows and does at the moment.

local LrDialogs = import "LrDialogs"
local LrFunctionContext = import "LrFunctionContext"

local Api = require "Api"
local Dialogs = require "Dialogs"
local Preferences = require "Preferences"

local function run_line(run)
    if not run then
        return LOC "$$$/Catalogd/Status/NoRun=Nothing is being indexed; start it in a terminal with: catalogd run ~/Pictures"
    end
    return LOC("$$$/Catalogd/Status/Run=Indexing runs (^1).", tostring(run.state or run.phase or "…"))
end

local function lines(status)
    local catalog = status.catalog
    return table.concat({
        LOC("$$$/Catalogd/Status/Indexed=Photos with results: ^1", Dialogs.count(catalog.indexed)),
        LOC("$$$/Catalogd/Status/Missing=Photos whose file is gone: ^1", Dialogs.count(catalog.missing)),
        LOC("$$$/Catalogd/Status/Failed=Photos that could not be read: ^1", Dialogs.count(catalog.failed)),
        run_line(status.run),
        LOC("$$$/Catalogd/Status/Profile=Models: ^1", tostring(status.profile)),
        LOC("$$$/Catalogd/Status/Version=catalogd ^1 at ^2", tostring(status.version), Preferences.address()),
    }, "\n")
end

LrFunctionContext.postAsyncTaskWithContext("catalogd status", function(context)
    LrDialogs.attachErrorDialogToFunctionContext(context)
    local status, failure = Api.call("status")
    if not status then return Api.report(failure) end
    Dialogs.say(LOC "$$$/Catalogd/Status/Title=catalogd answers.", lines(status))
end)
