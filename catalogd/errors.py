"""Every error catalogd raises on purpose, as one tree.

::

    CatalogdError                 exit code, HTTP status and kind; the message says what to do next
    ├── UsageError                a flag, query or setting is wrong; names its place
    │   ├── SettingsError
    │   ├── QueryError
    │   ├── NotFoundError         what is asked for is not there
    │   ├── OutsideError          a path that is in none of the libraries
    │   └── ConflictError         it can't be done now, as things are
    ├── PhotoError                one photo could not be read or inferred: becomes a failure record
    │   ├── UnreadableError       the bytes are not a photo that can be decoded
    │   ├── UnsupportedError      a format, or a variant of one, that no decoder here reads
    │   ├── TooLargeError         a limit would be exceeded by decoding it
    │   ├── DeniedError           no permission to read the file; tried again by every scan
    │   ├── UnavailableError      its disk or network does not answer; tried again by every scan
    │   ├── ChangedError          the file changed while it was read; tried again by every scan
    │   ├── DeadlineError         the reader passed its deadline
    │   └── CrashedError          the process working on it died
    ├── ModelError                a model is missing or its weights are not what they should be
    ├── CatalogError              the catalog on disk
    │   ├── CatalogLockedError    another process runs on it
    │   ├── CatalogMissingError   there is none yet
    │   ├── CatalogVersionError   written by a newer catalogd
    │   ├── CatalogFullError      no space left on the disk
    │   └── CatalogDamagedError   a store does not hold what it should
    ├── SidecarRefusedError       a sidecar that can't be written without loss; it stays as it is
    ├── ExiftoolError             exiftool is not there, too old, died or is late
    ├── LightroomError            a Lightroom catalog that can't be read; it stays as it is
    └── ResourceError             memory, shared memory, file handles
"""

from __future__ import annotations


class CatalogdError(Exception):
    """Base of all errors that catalogd raises on purpose.

    `kind` is the stable word by which programs tell them apart.
    """

    exit_code = 1
    http_status = 500
    kind = "other"


class UsageError(CatalogdError):
    """Something a person typed is wrong."""

    exit_code = 2
    http_status = 400
    kind = "usage"


class SettingsError(UsageError):
    """A setting has a wrong name, type or value; the message names file, variable or flag."""

    kind = "settings"


class QueryError(UsageError):
    """A query cannot be read.

    `position` is the 0-based offset into the query text where reading failed.
    """

    kind = "query"

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class NotFoundError(UsageError):
    """What is asked for by its name or number is not there."""

    http_status = 404
    kind = "not_found"


class OutsideError(UsageError):
    """A path that is in none of the libraries."""

    kind = "outside"


class ConflictError(UsageError):
    """It can't be done as things are now: something runs, or does not run, or is there already."""

    http_status = 409
    kind = "conflict"


class PhotoError(CatalogdError):
    """One photo could not be read or inferred; never stops a run.

    `reason` is the stable word that a failure record keeps.
    """

    exit_code = 3
    http_status = 422
    kind = "photo"
    reason = "failed"


class UnreadableError(PhotoError):
    reason = "unreadable"


class UnsupportedError(PhotoError):
    reason = "unsupported"


class TooLargeError(PhotoError):
    reason = "too_large"


class DeniedError(PhotoError):
    reason = "denied"


class UnavailableError(PhotoError):
    reason = "unavailable"


class ChangedError(PhotoError):
    reason = "changed"


class DeadlineError(PhotoError):
    reason = "timeout"


class CrashedError(PhotoError):
    reason = "crashed"


class ModelError(CatalogdError):
    """A model's weights are missing, or differ from the recorded hash."""

    exit_code = 4
    http_status = 503
    kind = "model"


class CatalogError(CatalogdError):
    """Something about the catalog on disk."""

    exit_code = 5
    kind = "catalog"


class CatalogLockedError(CatalogError):
    http_status = 409
    kind = "locked"


class CatalogMissingError(CatalogError):
    http_status = 404


class CatalogVersionError(CatalogError):
    pass


class CatalogFullError(CatalogError):
    http_status = 507


class CatalogDamagedError(CatalogError):
    pass


class SidecarRefusedError(CatalogdError):
    """A sidecar can't be understood, or not be written without loss; it stays byte for byte as it was.

    The message is the reason, in words that follow the name of the sidecar.
    """

    exit_code = 3
    kind = "sidecar"


class ExiftoolError(CatalogdError):
    """exiftool is not there, is too old, died, or passed its deadline."""

    http_status = 503
    kind = "exiftool"


class LightroomError(CatalogdError):
    """A Lightroom catalog can't be read now, or not at all; the message says which, and what to do."""

    exit_code = 5


class ResourceError(CatalogdError):
    """Memory, shared memory or file handles are not to be had."""

    exit_code = 6
    http_status = 503
    kind = "resource"
