package.path = "catalogd.lrdevplugin/?.lua;" .. package.path

local Changes = require "Changes"

local function current(values)
    local made = { keywords = {}, details = {}, written = {}, pickStatus = 0, colorNameForLabel = "none" }
    for key, value in pairs(values or {}) do made[key] = value end
    return made
end

local function policy(...)
    local fields = {}
    for _, name in ipairs({ ... }) do fields[name] = true end
    return { fields = fields, parent = "catalogd", people_parent = "People", alt_text = true }
end

local function keywords(...)
    local list = {}
    for place, path in ipairs({ ... }) do list[place] = { name = path:match("[^|]*$"), path = path, kind = "tag" } end
    return list
end

local function paths(rows)
    local list = {}
    for place, row in ipairs(rows) do list[place] = row.path end
    return list
end

-- What Lightroom has after a change.
local function after(before, change)
    local made = current(before)
    for _, value in ipairs(change.values) do made[value.key] = value.new end
    local gone, kept = {}, {}
    for _, row in ipairs(change.remove) do gone[row.path] = true end
    for _, path in ipairs(before.keywords) do
        if not gone[path] then kept[#kept + 1] = path end
    end
    for _, row in ipairs(change.add) do kept[#kept + 1] = row.path end
    made.keywords, made.written, made.details = kept, change.written, {}
    for id, text in pairs(before.details) do made.details[id] = text end
    for id, text in pairs(change.details) do made.details[id] = text or nil end
    return made
end

local function caption(text, model)
    return { caption = { text = text, model = model or "florence" } }
end

describe("a caption", function()
    it("is written where there is none", function()
        local change = Changes.of(current(), caption("A dog"), policy("caption"))
        assert.same({ { field = "caption", key = "caption", new = "A dog" } }, change.values)
        assert.equal("A dog", change.written.caption)
    end)

    it("is not touched when somebody wrote one", function()
        local change = Changes.of(current({ caption = "Mine" }), caption("A dog"), policy("caption"))
        assert.is_true(Changes.is_empty(change))
        assert.same({ caption = "yours" }, change.kept)
    end)

    it("follows a better one as long as it is ours", function()
        local first = after(current(), Changes.of(current(), caption("A dog"), policy("caption")))
        local change = Changes.of(first, caption("Two dogs"), policy("caption"))
        assert.equal("Two dogs", change.values[1].new)
        first.caption = "A dog, Rex"
        assert.same({ caption = "edited" }, Changes.of(first, caption("Two dogs"), policy("caption")).kept)
        first.caption = nil
        assert.same({ caption = "emptied" }, Changes.of(first, caption("Two dogs"), policy("caption")).kept)
    end)

    it("is left alone when it is there already, and is not called ours", function()
        local change = Changes.of(current({ caption = "A dog" }), caption("A dog"), policy("caption"))
        assert.is_true(Changes.is_empty(change))
        assert.is_nil(change.written.caption)
    end)

    it("is left alone when it is not asked for, or says nothing", function()
        assert.is_true(Changes.is_empty(Changes.of(current(), caption("A dog"), policy("title"))))
        assert.is_true(Changes.is_empty(Changes.of(current(), caption("  "), policy("caption"))))
        assert.is_true(Changes.is_empty(Changes.of(current(), {}, policy("caption"))))
    end)

    it("names its writer in the custom field only while it is ours", function()
        local asked = policy("caption", "details")
        local change = Changes.of(current(), caption("A dog"), asked)
        assert.equal("florence", change.details.captionSource)
        local mine = after(current(), change)
        mine.caption = "Mine"
        assert.is_false(Changes.of(mine, caption("A dog"), asked).details.captionSource)
    end)
end)

describe("proposals", function()
    local proposal = { rating_proposal = { rating = 4, label = "Green", pick = 1 } }

    it("are written only when they are asked for", function()
        assert.is_true(Changes.is_empty(Changes.of(current(), proposal, policy("caption", "keywords"))))
        local change = Changes.of(current(), proposal, policy("rating", "label", "pick"))
        local found = {}
        for _, value in ipairs(change.values) do found[value.key] = value.new end
        assert.same({ rating = 4, colorNameForLabel = "green", pickStatus = 1 }, found)
    end)

    it("never replace a person's", function()
        local mine = current({ rating = 1, colorNameForLabel = "red", label = "Rot", pickStatus = -1 })
        local change = Changes.of(mine, proposal, policy("rating", "label", "pick"))
        assert.is_true(Changes.is_empty(change))
        assert.same({ rating = "yours", label = "yours", pick = "yours" }, change.kept)
    end)

    it("of no stars are none, because Lightroom has no such rating", function()
        assert.is_true(Changes.is_empty(Changes.of(current(), { rating_proposal = { rating = 0 } }, policy("rating"))))
    end)

    it("of a rejected photo are a flag", function()
        local change = Changes.of(current(), { rating_proposal = { rating = -1 } }, policy("rating", "pick"))
        assert.same({ { field = "pick", key = "pickStatus", old = 0, new = -1 } }, change.values)
    end)

    it("with a label that is no colour are its text", function()
        local change = Changes.of(current(), { rating_proposal = { label = "Print" } }, policy("label"))
        assert.equal("label", change.values[1].key)
        assert.equal("Print", change.values[1].new)
    end)

    it("keep the colour ours when Lightroom names it in its language", function()
        local done = after(current(), Changes.of(current(), proposal, policy("label")))
        done.label = "Grün"
        assert.is_true(Changes.is_empty(Changes.of(done, proposal, policy("label"))))
        local change = Changes.back(done)
        assert.same({ "colorNameForLabel" }, { change.values[1].key, change.values[2] and change.values[2].key })
    end)
end)

describe("a place", function()
    local bergen = { place = { country_code = "NO", country = "Norway", region = "Vestland", city = "Bergen" } }

    it("is one statement: a part of somebody's keeps all of it as it is", function()
        assert.equal(4, #Changes.of(current(), bergen, policy("place")).values)
        local change = Changes.of(current({ city = "Voss" }), bergen, policy("place"))
        assert.is_true(Changes.is_empty(change))
        assert.same({ place = "yours" }, change.kept)
    end)

    it("that has fewer parts now loses the others", function()
        local done = after(current(), Changes.of(current(), bergen, policy("place")))
        local change = Changes.of(done, { place = { country_code = "NO", country = "Norway", region = "", city = "" } }, policy("place"))
        assert.equal(2, #change.values)
        assert.is_nil(after(done, change).city)
    end)
end)

describe("a position", function()
    it("is ours when it differs by less than Lightroom's digits", function()
        local asked, found = policy("gps"), { latitude = 60.39721, longitude = 5.32431 }
        local done = after(current(), Changes.of(current(), found, asked))
        done.gps = { latitude = 60.397214, longitude = 5.324308 }
        assert.is_true(Changes.is_empty(Changes.of(done, found, asked)))
        assert.equal(1, #Changes.back(done).values)
    end)

    it("of somebody's stays", function()
        local change = Changes.of(current({ gps = { latitude = 1, longitude = 2 } }), { latitude = 3, longitude = 4 }, policy("gps"))
        assert.same({ gps = "yours" }, change.kept)
    end)
end)

describe("keywords", function()
    it("stand below the parent, clean and each once", function()
        local change = Changes.of(current(), { keywords = keywords("Dog", "dog", "Plants|Rose, red", "catalogd|Cat") }, policy("keywords"))
        assert.same({ "catalogd|Dog", "catalogd|Plants|Rose red", "catalogd|Cat" }, paths(change.add))
        assert.same({ "catalogd|Dog", "catalogd|Plants|Rose red", "catalogd|Cat" }, change.written.keywords)
    end)

    it("that differ in case alone are there already", function()
        local change = Changes.of(current({ keywords = { "catalogd|DOG" } }), { keywords = keywords("dog") }, policy("keywords"))
        assert.is_true(Changes.is_empty(change))
    end)

    it("that somebody took off stay off", function()
        local done = after(current(), Changes.of(current(), { keywords = keywords("dog", "cat") }, policy("keywords")))
        done.keywords = { "catalogd|cat" }
        local change = Changes.of(done, { keywords = keywords("dog", "cat") }, policy("keywords"))
        assert.is_true(Changes.is_empty(change))
        assert.same({ keywords = "removed" }, change.kept)
    end)

    it("that are no longer said go when they are ours, and stay when they are not", function()
        local before = current({ keywords = { "catalogd|mine" } })
        local done = after(before, Changes.of(before, { keywords = keywords("dog") }, policy("keywords")))
        local change = Changes.of(done, { keywords = keywords("cat") }, policy("keywords"))
        assert.same({ "catalogd|dog" }, paths(change.remove))
        assert.same({ "catalogd|cat" }, paths(change.add))
        assert.same({ "catalogd|mine", "catalogd|cat" }, after(done, change).keywords)
    end)

    it("of people are another field", function()
        local results = { people = { "Ana, Núñez" }, keywords = { { name = "Ana", path = "People|Ana", kind = "person" } } }
        assert.is_true(Changes.is_empty(Changes.of(current(), results, policy("keywords"))))
        local change = Changes.of(current(), results, policy("people"))
        assert.same({ "catalogd|People|Ana Núñez" }, paths(change.add))
        assert.equal("Ana Núñez", change.values[1].new)
    end)

    it("of a person whom the photo names already are not doubled", function()
        local change = Changes.of(current({ keywords = { "Family|ana" } }), { people = { "Ana" } }, policy("people"))
        assert.same({}, change.add)
    end)
end)

describe("custom fields", function()
    it("are text, with numbers that sort", function()
        local change = Changes.of(current(), { quality_band = "sharp", sharpness = 86.6, faces = 2, photo_id = 9007199254740991 }, policy("details"))
        assert.same({ quality = "sharp", sharpness = "087", faces = "2", photoId = "9007199254740991" }, change.details)
    end)

    it("are not written twice", function()
        local results = { sharpness = 5, faces = 0 }
        local done = after(current(), Changes.of(current(), results, policy("details")))
        assert.is_true(Changes.is_empty(Changes.of(done, results, policy("details"))))
    end)
end)

describe("taking back", function()
    local all = { "keywords", "people", "caption", "title", "alt_text", "details", "rating", "label", "pick", "gps", "place" }
    local results = {
        caption = { text = "A dog", model = "m" }, title = "Dog", alt_text = "A dog", people = { "Ana" }, photo_id = 7,
        keywords = keywords("dog", "Plants|Rose"), rating_proposal = { rating = 3, label = "Red", pick = 1 },
        latitude = 1, longitude = 2, place = { country = "Norway", city = "Bergen" }, sharpness = 50, faces = 1,
    }

    it("restores what was there, field by field", function()
        local before = current({ keywords = { "Mine|dog", "catalogd|mine" }, title = "Mine" })
        local done = after(before, Changes.of(before, results, policy(unpack(all))))
        local back = after(done, Changes.back(done))
        back.pickStatus, back.colorNameForLabel = back.pickStatus or 0, back.colorNameForLabel or "none"
        assert.same(before, back)
    end)

    it("leaves what somebody changed since", function()
        local done = after(current(), Changes.of(current(), results, policy(unpack(all))))
        done.caption, done.rating, done.keywords = "Rex", 5, { "catalogd|dog", "Mine" }
        local change = Changes.back(done)
        local back = after(done, change)
        assert.equal("Rex", back.caption)
        assert.equal(5, back.rating)
        assert.same({ "Mine" }, back.keywords)
        assert.same({ caption = "edited", rating = "edited" }, change.kept)
        assert.same({}, back.written)
    end)

    it("of nothing is nothing", function()
        assert.is_true(Changes.is_empty(Changes.back(current({ caption = "Mine", keywords = { "catalogd|x" } }))))
    end)
end)

describe("lines for people", function()
    it("say each field once, old and new", function()
        local before = current({ written = { caption = "A dog" }, caption = "A dog" })
        local change = Changes.of(before, { caption = { text = "Two dogs" }, keywords = keywords("a", "b") }, policy("caption", "keywords"))
        assert.same({ { field = "keywords", old = "", new = "catalogd|a, catalogd|b" },
                      { field = "caption", old = "A dog", new = "Two dogs" } }, Changes.lines(change))
    end)
end)
