"""Colour labels: Lightroom keeps their text, in the language of whoever gave them."""

from __future__ import annotations

# Names of the colours in the languages that Lightroom Classic comes in, Latin letters.
COLOUR_NAMES = {
    "red": ("red", "rot", "rouge", "rojo", "rosso", "rood", "vermelho", "röd"),
    "yellow": ("yellow", "gelb", "jaune", "amarillo", "giallo", "geel", "amarelo", "gul"),
    "green": ("green", "grün", "vert", "verde", "groen", "grön"),
    "blue": ("blue", "blau", "bleu", "azul", "blu", "blauw", "blå"),
    "purple": ("purple", "lila", "violett", "violet", "pourpre", "púrpura", "viola", "paars", "roxo"),
}
COLOURS = tuple(COLOUR_NAMES)  # 1 to 5 in Lightroom's rules
_COLOUR_OF = {name: colour for colour, names in COLOUR_NAMES.items() for name in names}


def standard_label(label: str) -> str:
    """The colour in English ("Red"), as XMP of most programs has it; other labels as they are."""
    colour = _COLOUR_OF.get(label.strip().casefold())
    return label if colour is None else colour.capitalize()
