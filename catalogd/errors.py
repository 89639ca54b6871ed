"""Every error catalogd raises on purpose, as one tree.

::

    CatalogdError                 exit code, HTTP status; the message says what to do next
    ├── UsageError                a flag, query or setting is wrong; names its place
    │   ├── SettingsError
    │   └── QueryError
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
    └── ResourceError             memory, shared memory, file handles
"""

from __future__ import annotations


class CatalogdError(Exception):
    """Base of all errors that catalogd raises on purpose."""

    exit_code = 1
    http_status = 500


class UsageError(CatalogdError):
    """Something a person typed is wrong."""

    exit_code = 2
    http_status = 400


class SettingsError(UsageError):
    """A setting has a wrong name, type or value; the message names file, variable or flag."""


class QueryError(UsageError):
    """A query cannot be read.

    `position` is the 0-based offset into the query text where reading failed.
    """

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


class PhotoError(CatalogdError):
    """One photo could not be read or inferred; never stops a run.

    `reason` is the stable word that a failure record keeps.
    """

    exit_code = 3
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


class CatalogError(CatalogdError):
    """Something about the catalog on disk."""

    exit_code = 5


class CatalogLockedError(CatalogError):
    http_status = 409


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


class ExiftoolError(CatalogdError):
    """exiftool is not there, is too old, died, or passed its deadline."""


class ResourceError(CatalogdError):
    """Memory, shared memory or file handles are not to be had."""

    exit_code = 6
