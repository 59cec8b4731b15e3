"""A smaller SVG that looks the same: coordinates as fine as anybody can see."""

import re

#: Digits after the point, in points of 1/72 inch: a hundredth, and a tenth for lines
#: of many corners, which is an eighth of a pixel on a screen.
FINE, COARSE = 2, 1

#: From this many numbers on, a path is a long line.
LONG = 100

_TAG = re.compile(r"<[a-zA-Z][^>]*>")
_GEOMETRY = re.compile(
    r'(?<= )(d|x|y|width|height|points|transform)="((?!scale|matrix)[^"]*)"'
)
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_IDENTITY = re.compile(r' id="([^"]+)"')
_REFERENCE = re.compile(r'(?:href="|url\()#([^")]+)')


def compact(svg: str) -> str:
    """Return an SVG with rounded coordinates and only the ids that are used.

    What stands between tags, the text of labels, is left as it is.
    """
    used = set(_REFERENCE.findall(svg))

    def tag(found: re.Match[str]) -> str:
        text = _IDENTITY.sub(lambda each: each[0] if each[1] in used else "", found[0])
        return _GEOMETRY.sub(_rounded, text)

    return _TAG.sub(tag, svg)


def _rounded(found: re.Match[str]) -> str:
    name, value = found[1], found[2]
    numbers = len(_NUMBER.findall(value))
    digits = COARSE if name == "d" and numbers >= LONG else FINE
    value = _NUMBER.sub(lambda each: _short(float(each[0]), digits), value)
    return f'{name}="{" ".join(value.split())}"'


def _short(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
