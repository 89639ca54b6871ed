package.path = "catalogd.lrdevplugin/?.lua;" .. package.path

local Moments = require "Moments"
local SmartRules = require "SmartRules"

local ANSWER = {
    moments = {
        { kind = "moment", start = "2024-05-02T10:00:00", shots = {
            { photo_id = 2, photo_ids = { 2, 3 }, path = "/p/b.nef", state = "alternate", rank = 2, reasons = { "softer" } },
            { photo_id = 1, photo_ids = { 1 }, path = "/p/a.nef", state = "pick", rank = 1, reasons = { "sharpest" } },
        } },
        { kind = "focus_stack", start = "2024-05-01T09:00:00", shots = {
            { photo_id = 4, photo_ids = {}, path = "/p/c.nef", state = "protected", rank = 0, reasons = {} },
        } },
    },
}

describe("culling", function()
    it("puts every photo of a shot, and its copies, into one group", function()
        local groups = Moments.groups(ANSWER, { [1] = { "a", "a copy" }, [2] = { "b" }, [3] = { "b jpeg" }, [4] = { "c" } })
        assert.same({ pick = { "a", "a copy" }, alternate = { "b", "b jpeg" }, protected = { "c" } }, groups)
    end)

    it("leaves out what is not here", function()
        assert.same({ pick = {}, alternate = {}, protected = { "c" } }, Moments.groups(ANSWER, { [4] = { "c" } }))
    end)

    it("proposes flags and labels only when they are asked for, and never for a series", function()
        local groups = { pick = { "a" }, alternate = { "b" }, protected = { "c" } }
        assert.same({}, Moments.results(groups, {}))
        assert.same({ { photo = "a", results = { rating_proposal = { pick = 1 } } } }, Moments.results(groups, { flags = true }))
        assert.same({ { photo = "a", results = { rating_proposal = { label = "Green" } } },
                      { photo = "b", results = { rating_proposal = { label = "Red" } } } }, Moments.results(groups, { labels = true }))
    end)

    it("is of the day when it began", function()
        assert.equal("2024-05-01", Moments.day(ANSWER))
        assert.equal("", Moments.day({ moments = { { shots = {} } } }))
    end)

    it("shows the best first, and why", function()
        local lines = Moments.lines(ANSWER, 1)
        assert.equal(3, #lines)
        assert.truthy(lines[2]:find("a.nef  sharpest", 1, true))
    end)
end)

describe("smart collections", function()
    it("ask custom fields by texts alone", function()
        local words = { ["=="] = true, ["!="] = true, beginsWith = true, empty = true, notEmpty = true }
        local ids = {}
        for _, one in ipairs(SmartRules.all("org.x")) do
            assert.is_nil(ids[one.id])
            ids[one.id] = true
            for _, rule in ipairs(one.rules) do
                if rule.criteria:find("^sdktext:org.x%.") then
                    assert.is_true(words[rule.operation])
                    assert.equal("string", type(rule.value))
                end
            end
        end
    end)
end)
