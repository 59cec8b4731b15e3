"""`resnet-bench report`: one page that shows everything, and the same as Markdown."""

from collections.abc import Iterator
from pathlib import Path

import jinja2

from resnet_bench.catalogue import VARIANTS
from resnet_bench.present.tables import Table
from resnet_bench.present.theme import SHORTCUT_COLOURS, VARIANT_COLOURS
from resnet_bench.reports.blocks import relative
from resnet_bench.reports.page import Page, PageTable, page_table

#: What the page sends its readers to.
DOCUMENTS = {
    "tutorial.md": "goes through the tutorial's lessons, each with its sentence, the "
    "command that shows it and what was measured.",
    "method.md": "says in detail how each number is taken,",
    "claims.md": "how a verdict comes about.",
}


def documents_from(target: Path) -> str:
    """Return the documents' folder as a link from a page inside of the project.

    Nothing for a page elsewhere, which may be sent to people without the project.
    """
    project = Path(__file__).resolve().parents[2]
    documents = project / "docs"
    inside = target.resolve().is_relative_to(project) and documents.is_dir()
    return relative(documents, target.parent) if inside else ""


def html_page(page: Page, home: str = "") -> str:
    """Return the report as one HTML file that asks for nothing from outside.

    `home` is where a reader finds the documents; without it they are only named.
    """
    keys = _keys()

    def prepared(table: Table) -> PageTable:
        return page_table(table, next(keys))

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("resnet_bench.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        page=page,
        prepared=prepared,
        series=series_of_page(page),
        home=home,
        documents=DOCUMENTS,
    )


def _keys() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"table-{number}"


def series_of_page(page: Page) -> dict[str, tuple[str, str]]:
    """Return the series that can be highlighted: key to name and colour."""
    drawn = "".join(drawing.svg for drawing in page.drawings)
    named = {
        str(depth): (VARIANTS[depth].title, colour)
        for depth, colour in VARIANT_COLOURS.items()
    }
    named |= {
        shortcut: (shortcut, colour) for shortcut, colour in SHORTCUT_COLOURS.items()
    }
    return {
        key: value for key, value in named.items() if f'data-series="{key}"' in drawn
    }
