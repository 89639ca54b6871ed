"""What a person set in Lightroom Classic, read from its catalog (`.lrcat`) and kept as user data.

::

    .lrcat ─▶ opening ─▶ tables ─▶ reading: images ─▶ taking ─▶ user data
              never     columns    packets, lua_table   paths: where the files are here
              written   that are   + rules: smart collections as queries
                        there

The process that imports reads only; what it gives reaches the records through the process that writes them.
"""

from catalogd.sync.lightroom.opening import is_in_use, real_file, state_of
from catalogd.sync.lightroom.paths import PathMap
from catalogd.sync.lightroom.taking import Report, forget_catalog, import_catalog

__all__ = ["PathMap", "Report", "forget_catalog", "import_catalog", "is_in_use", "real_file", "state_of"]
