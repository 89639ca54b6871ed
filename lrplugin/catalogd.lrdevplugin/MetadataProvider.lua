-- The custom fields of a photo. They live in Lightroom's catalog alone, never in a file, and only as text.
-- Sharpness has three digits, so that text sorts as numbers do.

local SCHEMA = 1 -- one more when a field changes its meaning

-- What must be done to values of the schema before, by its number: function(photo).
local UPDATES = {}

local function update(catalog, before, progress)
    if not before then return end -- the plug-in is new here
    local photos = catalog:findPhotosWithProperty("org.catalogd.lightroom", "written")
    for number, photo in ipairs(photos) do
        for schema = before, SCHEMA - 1 do
            if UPDATES[schema] then UPDATES[schema](photo) end
        end
        if progress then progress:setPortionComplete(number, #photos) end
    end
end

local function text(id, title)
    return { id = id, title = title, dataType = "string", readOnly = true, searchable = true, browsable = true }
end

return {
    metadataFieldsForPhotos = {
        {
            id = "quality",
            title = LOC "$$$/Catalogd/Field/Quality=Quality",
            dataType = "enum",
            readOnly = true,
            searchable = true,
            browsable = true,
            values = {
                { value = "sharp", title = LOC "$$$/Catalogd/Field/Sharp=Sharp" },
                { value = "soft", title = LOC "$$$/Catalogd/Field/Soft=Soft" },
                { value = "blurred", title = LOC "$$$/Catalogd/Field/Blurred=Blurred" },
                { value = "dark", title = LOC "$$$/Catalogd/Field/Dark=Too dark" },
                { value = "bright", title = LOC "$$$/Catalogd/Field/Bright=Too bright" },
                allowPluginToSetOtherValues = true, -- of a daemon that is newer than the plug-in
            },
        },
        text("sharpness", LOC "$$$/Catalogd/Field/Sharpness=Sharpness (000 to 100)"),
        text("faces", LOC "$$$/Catalogd/Field/Faces=Faces"),
        text("captionSource", LOC "$$$/Catalogd/Field/CaptionSource=Caption written by"),
        text("photoId", LOC "$$$/Catalogd/Field/PhotoId=catalogd id"),
        { id = "written" }, -- without a title it is not shown: what catalogd wrote, as JSON (Changes.lua)
    },
    schemaVersion = SCHEMA,
    updateFromEarlierSchemaVersion = update,
}
