--[[ A job of catalogd, seen through: the API starts long work and tells of it when asked. Call it in a task.

    Jobs.follow(job, progress, before, total) → job at its end, or nil, failure
        Asks until it is done, shows `before` + what is done of `total`; when the progress is cancelled, so is the
        job (what is not begun is dropped), and it is followed to its end.
]]

local LrTasks = import "LrTasks"

local Api = require "Api"

local Jobs = {}

local EVERY_S = 1 -- between two looks: the daemon tells of its progress as often
local MOST_FAILURES = 5 -- in a row: it may be restarting
local ENDED = { done = true, cancelled = true, failed = true }

function Jobs.follow(job, progress, before, total)
    local is_cancelled, failures = false, 0
    while not ENDED[job.state] do
        progress:setPortionComplete(before + job.done, math.max(1, total))
        if progress:isCanceled() and not is_cancelled then
            is_cancelled = true
            Api.call("cancel_job", { path = { job_id = job.job_id } })
        end
        LrTasks.sleep(EVERY_S)
        local found, failure = Api.call("job", { path = { job_id = job.job_id } })
        failures = found and 0 or failures + 1
        if failures >= MOST_FAILURES or (failure and failure.kind == "answer" and failure.status == 404) then
            return nil, failure
        end
        job = found and found.job or job
    end
    return job
end

return Jobs
