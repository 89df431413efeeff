"""Bars in SVG: the rate of each tool, a panel for each pair of ends. The same figures always make the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLUMNS, WIDTH, GAP = 2, 440, 16  # panels beside each other; pixels
LABEL, ROW, BAR, TITLE = 200, 19, 12, 30
FONT = "12px system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif"
STYLE = f"""\
    text {{ font: {FONT}; fill: #24292f }}
    .title {{ font-weight: 600 }} .page {{ fill: #ffffff }}
    .ours {{ fill: #0969da }} .peer {{ fill: #8c959f }} .limit {{ fill: none; stroke: #8c959f; stroke-dasharray: 3 2 }}
    @media (prefers-color-scheme: dark) {{
      text {{ fill: #e6edf3 }} .page {{ fill: #0d1117 }}
      .ours {{ fill: #58a6ff }} .peer {{ fill: #6e7681 }} .limit {{ stroke: #8b949e }}
    }}"""


@dataclass(frozen=True)
class Bar:
    label: str
    rate: float  # bytes a second
    kind: str  # "ours", "peer", "limit"


@dataclass(frozen=True)
class Panel:
    title: str
    bars: Sequence[Bar]


def svg(panels: Sequence[Panel]) -> str:
    """The picture. It brings its own background, since nobody knows the page around it."""
    parts: list[str] = []
    top = float(GAP)
    for at in range(0, len(panels), COLUMNS):
        line = panels[at : at + COLUMNS]
        for column, panel in enumerate(line):
            parts += _panel(panel, GAP + column * (WIDTH + GAP), top)
        top += TITLE + ROW * max(len(panel.bars) for panel in line) + GAP
    width = GAP + COLUMNS * (WIDTH + GAP)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top:g}" width="{width}" height="{top:g}" role="img">'
    about = "  <title>MB/s of each tool, durable; longer is faster</title>"
    page = f'  <rect class="page" width="{width}" height="{top:g}" rx="6"/>'
    return "\n".join([head, about, "  <style>", STYLE, "  </style>", page, *parts, "</svg>", ""])


def _panel(panel: Panel, left: float, top: float) -> list[str]:
    longest = max(bar.rate for bar in panel.bars)
    space = WIDTH - LABEL - 50  # what a number takes
    parts = [f'  <text class="title" x="{left:g}" y="{top + 14:g}">{escape(panel.title)}</text>']
    for number, bar in enumerate(panel.bars):
        y = top + TITLE + number * ROW
        length = bar.rate / longest * space
        middle = y + BAR - 2
        parts += [
            f'  <text x="{left + LABEL - 8:g}" y="{middle:g}" text-anchor="end">{escape(bar.label)}</text>',
            f'  <rect class="{bar.kind}" x="{left + LABEL:g}" y="{y:g}" width="{length:.1f}" height="{BAR}"/>',
            f'  <text x="{left + LABEL + length + 6:.1f}" y="{middle:g}">{bar.rate / 1e6:.0f}</text>',
        ]
    return parts
