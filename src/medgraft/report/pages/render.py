"""From a template and its content to one HTML page that loads nothing: what all pages share."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup, escape

from medgraft.report.text import formatting

ROOM = Path(__file__).parents[1]


def render_page(template: str, content: dict[str, object]) -> str:
    """Fill a template; what users wrote is escaped, and numbers stay beside their units."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([ROOM / "pages", ROOM / "sections"]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["keep"] = keep
    environment.globals["w"] = formatting
    environment.globals["css"] = Markup((ROOM / "pages" / "report.css").read_text(encoding="utf-8"))
    page = environment.get_template(template).render(content)
    page = re.sub(r"(?<=\d) (?=%|points\b)", "\u00a0", page)
    return re.sub(r"\bp (≥|=|&lt;) (?=\d)", "p\u00a0\\1\u00a0", page)


def keep(text: str) -> Markup:
    """Escape a sentence, and hold its intervals and options together on one line."""
    whole = r"(\d[\d.]*–[\d.]+(?: %)?|\([\d.]+ %\)|±[\d.]+(?: points)?|--[a-z-]+)"
    return Markup(re.sub(whole, r'<span class="keep">\1</span>', str(escape(text))))
