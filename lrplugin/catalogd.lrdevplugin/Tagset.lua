-- "catalogd" in the menu of the Metadata panel: what catalogd says beside what Lightroom has.

local OURS = "org.catalogd.lightroom."

return {
    id = "catalogd",
    title = LOC "$$$/Catalogd/Tagset=catalogd",
    items = {
        "com.adobe.filename",
        "com.adobe.folder",
        "com.adobe.separator",
        "com.adobe.title",
        { "com.adobe.caption", height_in_lines = 3 },
        "com.adobe.rating.string",
        "com.adobe.colorLabels.string",
        "com.adobe.separator",
        OURS .. "quality",
        OURS .. "sharpness",
        OURS .. "faces",
        OURS .. "captionSource",
        OURS .. "photoId",
    },
}
