"""Line plots on logarithmic axes as small SVG files, readable on light and dark pages.

`ilre eval` draws shares from 0 to 1 (cli/eval/svg_plot.h); here quantities differ by thousands.
"""

import dataclasses
import html
import math
from typing import Callable, Sequence

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 80, 210, 40, 50
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#888888")
STYLE = "text{fill:#222}@media(prefers-color-scheme:dark){svg{background:#1b1b1b}text{fill:#ddd}}"


@dataclasses.dataclass
class Series:
    name: str
    points: list[tuple[float, float, float, float]]  # x, y, low, high: of y; all above 0


def render(title: str, x_label: str, y_label: str, series: Sequence[Series]) -> str:
    """An SVG document. Series without points are left out."""
    series = [one for one in series if one.points]
    x_axis = _Axis([point[0] for one in series for point in one.points], LEFT, WIDTH - RIGHT)
    y_axis = _Axis([y for one in series for point in one.points for y in point[1:]], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="13">\n<style>{STYLE}</style>',
        _text(LEFT, 24, "start", title, 'font-weight="bold"'),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "middle", x_label),
        _text(16, HEIGHT / 2, "middle", y_label, f'transform="rotate(-90 16 {HEIGHT / 2:g})"'),
    ]
    for tick in x_axis.ticks():
        parts.append(_line(x_axis(tick), TOP, x_axis(tick), HEIGHT - BOTTOM, 'stroke="#88888833"'))
        parts.append(_text(x_axis(tick), HEIGHT - BOTTOM + 20, "middle", short(tick)))
    for tick in y_axis.ticks():
        parts.append(_line(LEFT, y_axis(tick), WIDTH - RIGHT, y_axis(tick), 'stroke="#88888855"'))
        parts.append(_text(LEFT - 8, y_axis(tick) + 4, "end", short(tick)))
    for number, one in enumerate(series):
        parts += _series(one, COLOURS[number % len(COLOURS)], number, x_axis, y_axis)
    return "\n".join(parts) + "\n</svg>\n"


def short(value: float) -> str:
    """20000 -> 20K, 0.01 -> 0.01"""
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if value >= unit * 0.9995:
            return f"{value / unit:.3g}{suffix}"
    return f"{value:.3g}"


class _Axis:
    """Values to places, by their logarithm."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        self._low, self._high = math.log10(min(values, default=1)), math.log10(max(values, default=10))
        if self._high - self._low < 0.3:
            self._low, self._high = self._low - 0.15, self._high + 0.15
        self._begin, self._end = begin, end

    def __call__(self, value: float) -> float:
        return self._begin + (math.log10(value) - self._low) / (self._high - self._low) * (self._end - self._begin)

    def ticks(self) -> list[float]:
        """Powers of ten, with their halves and fifths where there are few of them."""
        steps = (1.0, 2.0, 5.0) if self._high - self._low < 3 else (1.0,)
        powers = range(math.floor(self._low), math.ceil(self._high) + 1)
        ticks = [step * 10.0**power for power in powers for step in steps]
        return [tick for tick in ticks if self._low - 1e-9 <= math.log10(tick) <= self._high + 1e-9]


_Place = Callable[[float], float]


def _series(one: Series, colour: str, number: int, x_axis: _Place, y_axis: _Place) -> list[str]:
    parts = []
    path = "M" + " L".join(f"{x_axis(x):.1f} {y_axis(y):.1f}" for x, y, _, _ in one.points)
    parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for x, y, low, high in one.points:
        parts.append(_line(x_axis(x), y_axis(low), x_axis(x), y_axis(high), f'stroke="{colour}88" stroke-width="5"'))
        parts.append(f'<circle cx="{x_axis(x):.1f}" cy="{y_axis(y):.1f}" r="3.5" fill="{colour}"/>')
    top = TOP + 18 * number + 8
    parts.append(_line(WIDTH - RIGHT + 16, top - 4, WIDTH - RIGHT + 34, top - 4, f'stroke="{colour}" stroke-width="3"'))
    parts.append(_text(WIDTH - RIGHT + 40, top, "start", one.name))
    return parts


def _text(x: float, y: float, anchor: str, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{html.escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'
