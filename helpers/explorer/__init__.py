"""The query explorer: any query by any method of the course, two side by side. `search` finds; the widget shows it."""

from helpers.explorer.search import Prepared, encode, search
from helpers.explorer.widget import QueryExplorer

__all__ = ["Prepared", "QueryExplorer", "encode", "search"]
