--[[ What the dialog of people works with. Every function must be called in a task.

    Persons.list()               → array of people as the API has them, or nil, failure
    Persons.name(person)         "Ana Núñez"
    Persons.title(person)        "Ana Núñez (12 photos)"
    Persons.items(people)        → items of a popup menu; a value is a number
    Persons.suggestions()        → array of {one =, other =, numbers =, reason =}, or nil, failure
    Persons.act(action, who, more) → true, or nil, failure       see POST /people/actions
    Persons.undo()               → true, or nil, failure
    Persons.faces(number)        → array of {photo_id =, face =}, or nil, failure
    Persons.picture(face)        → path of a temporary file with a JPEG of it, or nil, failure
    Persons.photos(catalog, number) → photos, missing, or nil, nil, failure
]]

local LrFileUtils = import "LrFileUtils"
local LrPathUtils = import "LrPathUtils"

local Api = require "Api"
local Dialogs = require "Dialogs"
local Matching = require "Matching"

local Persons = {}

function Persons.list()
    local people = {}
    local ok, failure = Api.all("people", "people", {}, function(person) people[#people + 1] = person end)
    if not ok then return nil, failure end
    return people
end

function Persons.name(person)
    return person.name or LOC("$$$/Catalogd/People/Unnamed=Unnamed ^1", string.format("%.0f", person.number))
end

function Persons.title(person)
    return LOC("$$$/Catalogd/People/Item=^1 (^2 photos)", Persons.name(person), Dialogs.count(person.photos))
end

function Persons.items(people)
    local items = {}
    for place, person in ipairs(people) do items[place] = { title = Persons.title(person), value = person.number } end
    return items
end

function Persons.suggestions()
    local answer, failure = Api.call("people_suggestions")
    if not answer then return nil, failure end
    return answer.suggestions
end

function Persons.act(action, who, more)
    local body = { action = action, who = who }
    for key, value in pairs(more or {}) do body[key] = value end
    local answer, failure = Api.call("people_action", { body = body })
    return answer and true, failure
end

function Persons.undo()
    local answer, failure = Api.call("people_undo", { body = { count = 1 } })
    return answer and true, failure
end

function Persons.faces(number)
    local answer, failure = Api.call("person", { path = { number = number } })
    if not answer then return nil, failure end
    return answer.shown
end

function Persons.picture(face)
    local body, failure = Api.bytes("face_image", { path = { photo_id = face.photo_id, face = face.face } })
    if not body then return nil, failure end
    local folder = LrPathUtils.getStandardFilePath("temp")
    local path = LrFileUtils.chooseUniqueFileName(LrPathUtils.child(folder, "catalogd-face.jpg"))
    local file = assert(io.open(path, "wb"))
    file:write(body)
    file:close()
    return path
end

function Persons.photos(catalog, number)
    local hits = {}
    local ok, failure = Api.all("person_photos", "photos", { path = { number = number } }, function(photo)
        hits[#hits + 1] = photo
    end)
    if not ok then return nil, nil, failure end
    return Matching.photos(catalog, hits)
end

return Persons
