-- Library › Plug-in Extras › Search catalogd…: a query becomes a collection in the order of its scores.

local LrApplication = import "LrApplication"
local LrBinding = import "LrBinding"
local LrDialogs = import "LrDialogs"
local LrFunctionContext = import "LrFunctionContext"
local LrView = import "LrView"

local Api = require "Api"
local Counting = require "Counting"
local Finding = require "Finding"
local Preferences = require "Preferences"

local bind = LrView.bind

local function contents(f, properties)
    return f:column({
        bind_to_object = properties,
        spacing = f:control_spacing(),
        f:static_text({ title = LOC "$$$/Catalogd/Search/Hint=Words, and filters like camera:nikon rating:>=4 date:2023 person:Anna -blurry" }),
        f:combo_box({
            value = bind "query",
            items = Preferences.get("recent_queries"),
            immediate = true,
            width_in_chars = 50,
        }),
        f:static_text({ title = bind "count", width_in_chars = 50, height_in_lines = 2 }),
        f:row({
            f:static_text({ title = LOC "$$$/Catalogd/Search/Limit=At most" }),
            f:popup_menu({ value = bind "limit", items = Finding.limits() }),
            f:static_text({ title = LOC "$$$/Catalogd/Search/LimitPhotos=photos, the best first" }),
        }),
        f:checkbox({ title = LOC "$$$/Catalogd/Search/Select=Select them in the grid", value = bind "select" }),
        f:static_text({ title = LOC "$$$/Catalogd/Search/Order=The collection keeps this order under View > Sort > Custom Order." }),
    })
end

-- {query =, limit =, select =}, or nil when the person leaves.
local function ask(context)
    local properties = LrBinding.makePropertyTable(context)
    properties.query = Preferences.get("recent_queries")[1] or ""
    properties.count = ""
    properties.limit, properties.select = Preferences.get("search_limit"), Preferences.get("select_in_grid")
    Counting.follow(context, properties)
    local result = LrDialogs.presentModalDialog({
        title = LOC "$$$/Catalogd/Search/Title=Search catalogd",
        contents = contents(LrView.osFactory(), properties),
        actionVerb = LOC "$$$/Catalogd/Search/Do=Search",
    })
    local query = (properties.query or ""):gsub("^%s+", ""):gsub("%s+$", "")
    if result ~= "ok" or query == "" then return nil end
    return { query = query, limit = properties.limit, select = properties.select }
end

LrFunctionContext.postAsyncTaskWithContext("catalogd search", function(context)
    LrDialogs.attachErrorDialogToFunctionContext(context)
    local asked = ask(context)
    if not asked then return end
    Preferences.set("search_limit", asked.limit)
    Preferences.set("select_in_grid", asked.select)
    local answer, failure = Api.call("search", { body = { q = asked.query, limit = asked.limit } })
    if not answer then return Api.report(failure) end
    Finding.remember(asked.query)
    Finding.show(context, LrApplication.activeCatalog(), answer, asked.query, asked.select)
end)
