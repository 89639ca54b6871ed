"""What catalogd writes beside photos, for other programs: XMP sidecars."""
