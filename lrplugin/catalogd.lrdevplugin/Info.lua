-- What Lightroom reads first, in an environment without import and require. Titles are localised here.

-- A table of its own for each menu: Lightroom may note something in it.
local function items()
    return {
        { title = LOC "$$$/Catalogd/Menu/Search=Search catalogd…", file = "Search.lua", enabledWhen = "photosAvailable" },
        { title = LOC "$$$/Catalogd/Menu/Similar=Find similar…", file = "Similar.lua", enabledWhen = "photosSelected" },
        { title = LOC "$$$/Catalogd/Menu/Analyze=Analyze selected photos", file = "Analyze.lua",
          enabledWhen = "photosAvailable" },
        { title = LOC "$$$/Catalogd/Menu/Write=Write results to Lightroom…", file = "Write.lua",
          enabledWhen = "photosAvailable" },
        { title = LOC "$$$/Catalogd/Menu/TakeBack=Take back what catalogd wrote…", file = "TakeBack.lua",
          enabledWhen = "photosAvailable" },
        { title = LOC "$$$/Catalogd/Menu/Read=Read from Lightroom…", file = "Read.lua", enabledWhen = "photosAvailable" },
        { title = LOC "$$$/Catalogd/Menu/People=People…", file = "People.lua" },
        { title = LOC "$$$/Catalogd/Menu/Cull=Cull…", file = "Cull.lua", enabledWhen = "photosAvailable" },
        { title = LOC "$$$/Catalogd/Menu/SmartCollections=Smart collections…", file = "SmartCollections.lua" },
        { title = LOC "$$$/Catalogd/Menu/Status=Status", file = "Status.lua" },
        { title = LOC "$$$/Catalogd/Menu/Settings=Settings…", file = "Settings.lua" },
    }
end

return {
    LrSdkVersion = 13.0,
    LrSdkMinimumVersion = 6.0,
    LrToolkitIdentifier = "org.catalogd.lightroom",
    LrPluginName = LOC "$$$/Catalogd/Plugin=catalogd",
    LrInitPlugin = "Init.lua",
    LrPluginInfoProvider = "SettingsProvider.lua",
    LrMetadataProvider = "MetadataProvider.lua",
    LrMetadataTagsetFactory = "Tagset.lua",
    LrLibraryMenuItems = items(),
    LrExportMenuItems = items(),
    LrHelpMenuItems = { { title = LOC "$$$/Catalogd/Menu/Help=catalogd Help", file = "Help.lua" } },
    VERSION = { major = 0, minor = 1, revision = 0, display = "0.1.0" },
}
