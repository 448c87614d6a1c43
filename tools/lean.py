"""Import this before nbformat, or Jupyter: it spares each process that reads a notebook more than a second.

nbformat brings along jsonschema, which makes a parser for international addresses if it finds the package for it, even
if no schema asks for one. None of a notebook's does.
"""

import sys

sys.modules.setdefault("rfc3987_syntax", None)  # as if it were not installed: jsonschema does without
