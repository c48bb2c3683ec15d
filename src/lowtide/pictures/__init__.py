"""Pictures and pages: numbers and words in, SVG and HTML strings out; nothing else in the package draws.

A picture is an ``<svg>`` that stands alone (save it, show it in a notebook) or in a `page`. A page is one HTML document
that loads nothing: no script, no font, no image. Both follow the reader's light or dark mode.

    >>> from lowtide.pictures import figure, line_chart, page, paragraph
    >>> ebb = line_chart({"harbour": [(0, 3.1), (6, 0.4)]}, title="One ebb", x_label="hours", y_label="metres")
    >>> page("The tide", [paragraph("Twice a day."), figure(ebb, caption="One of them.")]).count("<svg")
    2

Texts are escaped and control characters dropped. Colour never speaks alone: a name, a dash, a shape or a number says
the same. Knows no model, no file and no plotting library::

    drawing  texts, numbers, axes and marks as pieces of SVG
    charts   lines, heat maps, token maps, bars
    pages    tables, paragraphs and the document around them
"""

from lowtide.pictures.charts import bar_chart, heat_map, line_chart, token_map
from lowtide.pictures.pages import Marked, code_block, columns, figure, heading, page, paragraph, table

__all__ = [
    "Marked",
    "bar_chart",
    "code_block",
    "columns",
    "figure",
    "heading",
    "heat_map",
    "line_chart",
    "page",
    "paragraph",
    "table",
    "token_map",
]
