"""Equations as MathML, made when the site is built: a reader needs no script and no network.

arithmatex leaves LaTeX in elements of the class 'arithmatex'; here it is replaced.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Called by MkDocs with the HTML of a page's Markdown."""
    content = _BLOCK.sub(lambda found: _convert(found, "block"), content)
    return _INLINE.sub(lambda found: _convert(found, "inline"), content)


def _convert(found: re.Match[str], display: str) -> str:
    return convert(html.unescape(found[1]).strip(), display=display)
