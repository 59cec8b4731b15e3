"""Figures inside a page: themed by the page, marked by series, described in words."""

import re
from dataclasses import dataclass
from html import escape

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from resnet_bench.present import theme

#: Neutral colours of the theme become variables, so that a dark page can turn them.
VARIABLES = {
    "#ffffff": "paper",
    "#222222": "ink",
    "#111111": "ink",
    "#000000": "ink",
    "#262626": "ink",
    "#444444": "axis",
    "#5a5a5a": "muted",
    "#999999": "muted",
    "#cccccc": "axis",
    "#e3e3e3": "grid",
}

#: Relative luminance below which a line would not be seen on a dark page.
DARK = 0.1

#: How strongly colours are mixed with white anywhere in the figures.
STRENGTHS = (1.0, 0.75, 0.6, 0.5, 0.35, 0.25)

_STYLE = re.compile(r'style="([^"]*)"')
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_STROKE = re.compile(r"stroke: #")
_IDENTITY = re.compile(r'(id="|href="#|url\(#)([^")]+)')


@dataclass(frozen=True)
class Drawing:
    """A figure ready for a page: its SVG, its title and what it shows in words."""

    name: str
    title: str
    subtitle: str
    description: str
    svg: str
    #: Width in inches, by which the page keeps text readable.
    inches: float


def series_colours() -> dict[str, str]:
    """Return which series each colour of the theme means, tints included."""
    variants = {str(key): colour for key, colour in theme.VARIANT_COLOURS.items()}
    return {
        theme.tint(colour, strength): series
        for series, colour in (variants | theme.SHORTCUT_COLOURS).items()
        for strength in STRENGTHS
    }


def drawing(name: str, figure: Figure, prefix: str) -> Drawing:
    """Return a figure as part of a page; `prefix` keeps its ids apart from others'."""
    title, _, subtitle = figure.get_suptitle().partition("\n")
    described = description(figure)
    return Drawing(
        name=name,
        title=title,
        subtitle=subtitle,
        description=described,
        svg=page_svg(figure, prefix, described),
        inches=round(float(figure.get_figwidth()), 2),
    )


def description(figure: Figure) -> str:
    """Return what a figure shows, for those who do not see it."""
    parts = [" ".join(figure.get_suptitle().split())]
    for axes in figure.axes:
        labels = {"horizontal": axes.get_xlabel(), "vertical": axes.get_ylabel()}
        said = [f"{side}: {label}" for side, label in labels.items() if label]
        if axes.get_title(loc="left") or axes.get_title():
            said.insert(0, axes.get_title(loc="left") or axes.get_title())
        if said:
            parts.append(", ".join(said))
    return ". ".join(part.replace("\n", " ") for part in parts if part)


def page_svg(figure: Figure, prefix: str, label: str) -> str:
    """Return a figure's SVG element alone, small, with variables for its colours."""
    text = theme.svg_text(figure)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = _IDENTITY.sub(rf"\g<1>{prefix}-\g<2>", text)
    text = _STYLE.sub(_themed, text)
    text = re.sub(r">\s+<", "><", text)
    opening = f'<svg role="img" aria-label="{escape(label)}"'
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg", opening, 1).strip()


def _themed(found: re.Match[str]) -> str:
    style = found[1]
    colours = [colour.lower() for colour in _COLOUR.findall(style)]
    series = next((SERIES[colour] for colour in colours if colour in SERIES), None)
    # Areas keep their colours: a dark one may be an end of a colour scale.
    lifted = series is not None or _STROKE.search(style) is not None
    style = _COLOUR.sub(lambda each: _adapted(each[0].lower(), lifted=lifted), style)
    mark = f' data-series="{series}"' if series else ""
    return f'style="{style}"{mark}'


def _adapted(colour: str, *, lifted: bool) -> str:
    """Return a colour as the page can adapt it to a dark ground."""
    if colour in VARIABLES:
        return f"var(--{VARIABLES[colour]})"
    if lifted and luminance(colour) < DARK:
        return f"color-mix(in srgb, {colour}, white var(--lift))"
    return colour


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2.2, from 0 to 1)."""
    linear = [
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in to_rgb(colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


SERIES = series_colours()
