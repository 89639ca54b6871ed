--[[ What culling says, as groups of Lightroom's photos. Pure.

    Moments.groups(answer, of_id) → {pick = photos, alternate = photos, protected = photos}
        `answer` of POST /cull; `of_id`: {photo_id → array of photos}. In the order of moments and ranks, each once.
    Moments.results(groups, asked) → array of {photo =, results =}
        Proposals for Changes.lua: with asked.flags picks are flagged; with asked.labels picks are green and
        alternates red.
    Moments.lines(answer, most)   → array of lines, for people
    Moments.day(answer)           → "2024-05-01", when the first moment was, or ""
]]

local Moments = {}

local LABELS = { pick = "Green", alternate = "Red" }
local GROUPS = { "pick", "alternate", "protected" }

local function shots_by_rank(moment)
    local shots = {}
    for place, shot in ipairs(moment.shots) do shots[place] = { shot = shot, place = place } end
    table.sort(shots, function(one, other)
        if one.shot.rank ~= other.shot.rank then return one.shot.rank < other.shot.rank end
        return one.place < other.place
    end)
    return shots
end

local function ids_of(shot)
    return shot.photo_ids and #shot.photo_ids > 0 and shot.photo_ids or { shot.photo_id }
end

function Moments.groups(answer, of_id)
    local groups, seen = { pick = {}, alternate = {}, protected = {} }, {}
    for _, moment in ipairs(answer.moments) do
        for _, row in ipairs(shots_by_rank(moment)) do
            local group = groups[row.shot.state] or groups.protected
            for _, id in ipairs(ids_of(row.shot)) do
                for _, photo in ipairs(of_id[id] or {}) do
                    if not seen[photo] then seen[photo], group[#group + 1] = true, photo end
                end
            end
        end
    end
    return groups
end

local function proposal(state, asked)
    local pick = asked.flags and state == "pick" and 1 or nil
    local label = asked.labels and LABELS[state] or nil
    return (pick or label) and { pick = pick, label = label } or nil
end

function Moments.results(groups, asked)
    local items = {}
    for _, state in ipairs(GROUPS) do
        local proposed = proposal(state, asked)
        for _, photo in ipairs(proposed and groups[state] or {}) do
            items[#items + 1] = { photo = photo, results = { rating_proposal = proposed } }
        end
    end
    return items
end

local function shot_line(shot)
    local marks = { pick = "★", alternate = "·", protected = "▣" }
    local name = shot.path:match("[^/\\]+$") or shot.path
    return "      " .. (marks[shot.state] or "?") .. " " .. name .. "  " .. table.concat(shot.reasons or {}, ", ")
end

function Moments.lines(answer, most)
    local lines = {}
    for number, moment in ipairs(answer.moments) do
        if number > most then break end
        local start = (moment.start or ""):gsub("T", " "):sub(1, 19)
        local kind = moment.kind == "moment" and "" or moment.kind:gsub("_", " ")
        lines[#lines + 1] = number .. ".  " .. start .. "  " .. kind
        for _, row in ipairs(shots_by_rank(moment)) do lines[#lines + 1] = shot_line(row.shot) end
    end
    return lines
end

function Moments.day(answer)
    local day
    for _, moment in ipairs(answer.moments) do
        local found = (moment.start or ""):match("^%d%d%d%d%-%d%d%-%d%d")
        if found and (not day or found < day) then day = found end
    end
    return day or ""
end

return Moments
