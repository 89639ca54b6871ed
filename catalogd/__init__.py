"""catalogd gives a photo library an AI memory, on the owner's own machine."""

__version__ = "0.1.0"
