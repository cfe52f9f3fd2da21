"""Templates to pages: one environment for all of them, and what must be escaped is."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from kdlnet.report.pages.answer import ends
from kdlnet.report.pages.words import counted, figure, visible
from kdlnet.utils.words import percent

MEGABYTES = 4.9
"""What a page may weigh, 10^6 bytes."""


@cache
def environment() -> Environment:
    """Autoescape is on: names of classes and files are text, whatever they hold."""
    made = Environment(
        loader=PackageLoader("kdlnet", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(percent=percent, figure=figure, visible=visible, compact=compact, ends=ends)
    made.globals.update(counted=counted)
    return made


def render(template: str, **values: Any) -> str:
    """The page; it loads nothing from a network, and a policy in its head forbids it."""
    return environment().get_template(template).render(**values)


def compact(values: Any) -> str:
    """JSON for a script element, without blanks: no ``<`` of a name can end the element."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    return text.translate({ord(char): f"\\u{ord(char):04x}" for char in "<>&"})
