-- Library › Plug-in Extras › Analyze selected photos: catalogd takes these photos before others.

local LrApplication = import "LrApplication"
local LrDialogs = import "LrDialogs"
local LrFunctionContext = import "LrFunctionContext"

local Api = require "Api"
local Batches = require "Batches"
local Dialogs = require "Dialogs"
local Jobs = require "Jobs"
local Paths = require "Paths"
local Preferences = require "Preferences"

local MOST_PATHS = 2000 -- in one job: a cancelled one ends soon

local function question(count)
    return LOC("$$$/Catalogd/Analyze/Question=Analyze all of these photos (^1)?", count)
end

-- The files of the photos as catalogd knows them, each once, and how many videos were left out.
local function files(catalog, photos)
    local values, map = Batches.read(catalog, photos, { "path", "isVideo" }), Preferences.path_map()
    local paths, seen, videos = {}, {}, 0
    for _, photo in ipairs(photos) do
        local path = values[photo].path
        if values[photo].isVideo then
            videos = videos + 1
        elseif not seen[path] then -- a virtual copy has the file of its master
            seen[path], paths[#paths + 1] = true, Paths.to_daemon(path, map)
        end
    end
    return paths, videos
end

local function summary(total, videos)
    local lines = { LOC("$$$/Catalogd/Analyze/Done=Analyzed, or known already: ^1. Could not be read: ^2.", Dialogs.count(total.done), Dialogs.count(total.failed)) }
    if total.failed > 0 then
        lines[#lines + 1] = LOC "$$$/Catalogd/Analyze/Failures=Run in a terminal: catalogd failures"
    end
    if videos > 0 then
        lines[#lines + 1] = LOC("$$$/Catalogd/Analyze/Videos=Videos left out: ^1", Dialogs.count(videos))
    end
    return table.concat(lines, "\n")
end

LrFunctionContext.postAsyncTaskWithContext("catalogd analyze", function(context)
    LrDialogs.attachErrorDialogToFunctionContext(context)
    local catalog = LrApplication.activeCatalog()
    local photos = Dialogs.photos_to_use(catalog, question, LOC "$$$/Catalogd/Analyze/Verb=Analyze")
    if not photos then return end
    local paths, videos = files(catalog, photos)
    local progress = Batches.progress(context, LOC "$$$/Catalogd/Analyze/Title=catalogd analyzes photos")
    local total = { done = 0, failed = 0 }
    local _, failure, is_cancelled = Batches.each(paths, progress, function(part, first)
        local answer, problem = Api.call("analyze", { body = { paths = part } })
        if not answer then return nil, problem end
        local job
        job, problem = Jobs.follow(answer.job, progress, first - 1, #paths)
        if not job then return nil, problem end
        total.done, total.failed = total.done + job.done - job.failed, total.failed + job.failed
        if job.state == "failed" then return nil, { kind = "answer", message = job.message or "" } end
        return true
    end, MOST_PATHS)
    if failure then return Batches.report(failure, total.done + total.failed > 0 and summary(total, videos) or nil) end
    local title = (is_cancelled or progress:isCanceled()) and LOC "$$$/Catalogd/Analyze/Cancelled=The analysis was cancelled."
        or LOC "$$$/Catalogd/Analyze/Ready=The analysis is done."
    Dialogs.say(title, summary(total, videos))
end)
