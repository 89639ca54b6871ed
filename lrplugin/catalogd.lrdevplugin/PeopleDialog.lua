--[[ The dialog of people: names, faces, who is one and the same. Must be called in a task.

    PeopleDialog.ask(context, people) → person whose photos are to be shown, or nil

  Buttons act at once; each starts a task of its own, and the lists follow.
]]

local LrBinding = import "LrBinding"
local LrDialogs = import "LrDialogs"
local LrFileUtils = import "LrFileUtils"
local LrTasks = import "LrTasks"
local LrView = import "LrView"

local Api = require "Api"
local Persons = require "Persons"

local PeopleDialog = {}

local bind = LrView.bind
local FACE_PX = 160

-- ── what is shown ────────────────────────────────────────────────────────────────────────────────

local function person_of(state, number)
    for _, person in ipairs(state.people) do
        if person.number == number then return person end
    end
    return nil
end

local function drop_picture(state)
    if state.picture then LrFileUtils.delete(state.picture) end
    state.picture = nil
end

-- After each answer of catalogd's the dialog may be closed, and its properties gone.
local function show_face(state)
    local face = (state.faces or {})[state.face]
    local path = face and Persons.picture(face)
    if state.is_closed then
        if path then LrFileUtils.delete(path) end
        return
    end
    state.properties.picture = path
    drop_picture(state)
    state.picture = path
end

local function show_person(state)
    local person = person_of(state, state.properties.who)
    state.properties.has_person = person ~= nil
    if not person then return end
    state.properties.name = person.name or ""
    local faces = Persons.faces(person.number) or {}
    if state.is_closed or state.properties.who ~= person.number then return end -- somebody else was chosen meanwhile
    state.faces, state.face = faces, 1
    show_face(state)
end

local function show_suggestion(state)
    local pair = state.suggestions[state.suggestion]
    state.properties.has_suggestion = pair ~= nil
    state.properties.suggested = pair and LOC("$$$/Catalogd/People/Pair=^1 and ^2 (^3)", pair.one, pair.other, pair.reason or "")
        or LOC "$$$/Catalogd/People/NoPair=Nobody seems to be here twice."
end

local function first_number(state)
    return state.people[1] and state.people[1].number or 0
end

local function refresh(state)
    local people, failure = Persons.list()
    if not people then return Api.report(failure) end
    local suggestions = Persons.suggestions() or {}
    if state.is_closed then return end
    state.people, state.suggestions, state.suggestion = people, suggestions, 1
    local properties = state.properties
    properties.items = Persons.items(people)
    if not person_of(state, properties.who) then properties.who = first_number(state) end
    if not person_of(state, properties.into) then properties.into = first_number(state) end
    show_suggestion(state)
    show_person(state)
end

-- ── what buttons do ──────────────────────────────────────────────────────────────────────────────

local function in_task(state, f)
    return function()
        LrTasks.startAsyncTask(function()
            local ok, failure = f(state, state.properties)
            if failure then Api.report(failure) end
            if ok and not state.is_closed then refresh(state) end
        end, "catalogd people")
    end
end

-- Two people don't have one name: the person decides whether they are one.
local function set_name(_, properties)
    local who = properties.who
    local name = (properties.name or ""):gsub("^%s+", ""):gsub("%s+$", "")
    if name == "" then return nil end
    local ok, failure = Persons.act("name", who, { name = name })
    if ok or failure.status ~= 409 then return ok, failure end
    local answer = LrDialogs.confirm(LOC("$$$/Catalogd/People/Taken=There is somebody called ^1 already. Are they the same person?", name),
        nil, LOC "$$$/Catalogd/People/Same=Same person")
    if answer ~= "ok" then return nil end
    return Persons.act("name", who, { name = name, merge = true })
end

local function merge(state, properties)
    local into = properties.into
    if into == properties.who then return nil end
    local ok, failure = Persons.act("merge", into, { others = { properties.who } })
    if ok and not state.is_closed then properties.who = into end
    return ok, failure
end

local function hide(_, properties)
    return Persons.act("hide", properties.who)
end

local function same_person(state)
    local pair = state.suggestions[state.suggestion]
    return Persons.act("merge", pair.numbers[1], { others = { pair.numbers[2] } })
end

local function next_suggestion(state)
    state.suggestion = state.suggestion % math.max(1, #state.suggestions) + 1
    show_suggestion(state)
end

local function next_face(state)
    state.face = state.face % math.max(1, #state.faces) + 1
    show_face(state)
end

-- ── the dialog ───────────────────────────────────────────────────────────────────────────────────

local function button(f, state, title, action, enabled)
    return f:push_button({ title = title, enabled = bind(enabled), action = in_task(state, action) })
end

local function person_view(f, state)
    return f:row({
        f:column({
            f:picture({ value = bind "picture", width = FACE_PX, height = FACE_PX }),
            button(f, state, LOC "$$$/Catalogd/People/NextFace=Another face", next_face, "has_person"),
        }),
        f:column({
            spacing = f:control_spacing(),
            f:popup_menu({ value = bind "who", items = bind "items", width_in_chars = 40 }),
            f:row({
                f:edit_field({ value = bind "name", width_in_chars = 30, immediate = true }),
                button(f, state, LOC "$$$/Catalogd/People/SetName=Set name", set_name, "has_person"),
            }),
            f:row({
                f:static_text({ title = LOC "$$$/Catalogd/People/Into=is the same person as" }),
                f:popup_menu({ value = bind "into", items = bind "items", width_in_chars = 26 }),
                button(f, state, LOC "$$$/Catalogd/People/Merge=Merge", merge, "has_person"),
            }),
            f:row({
                f:push_button({
                    title = LOC "$$$/Catalogd/People/Show=Show photos",
                    enabled = bind "has_person",
                    action = function(view) LrDialogs.stopModalWithResult(view, "photos") end,
                }),
                button(f, state, LOC "$$$/Catalogd/People/Hide=Hide", hide, "has_person"),
                button(f, state, LOC "$$$/Catalogd/People/Undo=Undo the last one", Persons.undo, "is_open"),
            }),
        }),
    })
end

local function suggestion_view(f, state)
    return f:group_box({
        title = LOC "$$$/Catalogd/People/Suggestions=Maybe the same person",
        fill_horizontal = 1,
        f:static_text({ title = bind "suggested", width_in_chars = 60, height_in_lines = 2 }),
        f:row({
            button(f, state, LOC "$$$/Catalogd/People/Same=Same person", same_person, "has_suggestion"),
            button(f, state, LOC "$$$/Catalogd/People/Next=Next", next_suggestion, "has_suggestion"),
        }),
    })
end

function PeopleDialog.ask(context, people)
    local f, properties = LrView.osFactory(), LrBinding.makePropertyTable(context)
    local state = { properties = properties, people = people, suggestions = {}, suggestion = 1, faces = {}, face = 1 }
    properties.items, properties.name, properties.is_open = Persons.items(people), "", true
    properties.who, properties.into = first_number(state), first_number(state)
    refresh(state)
    properties:addObserver("who", function()
        LrTasks.startAsyncTask(function()
            if not state.is_closed then show_person(state) end
        end, "catalogd people")
    end)
    local result = LrDialogs.presentModalDialog({
        title = LOC "$$$/Catalogd/People/Title=People",
        actionVerb = LOC "$$$/Catalogd/People/Close=Close",
        cancelVerb = "< exclude >", -- Lightroom's word for no such button
        contents = f:column({
            bind_to_object = properties,
            spacing = f:dialog_spacing(),
            person_view(f, state),
            suggestion_view(f, state),
        }),
    })
    state.is_closed = true
    drop_picture(state)
    return result == "photos" and person_of(state, properties.who) or nil
end

return PeopleDialog
