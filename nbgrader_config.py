"""What nbgrader needs to know of this course; `make release`, `make grade` and `make feedback` use it as well."""

import functools
import sys
from pathlib import Path

import jinja2

c = get_config()  # noqa: F821 (traitlets provides it)

c.CourseDirectory.course_id = "image-retrieval"
# everything that belongs to a class: releases, submissions, marks; not in git, and not removed by `make clean`
c.CourseDirectory.root = str(Path(__file__).resolve().parent / "class")

c.ClearSolutions.code_stub = {
    "python": "# Write your own code in place of the next line.\n"
    'raise NotImplementedError("this task is not solved yet: put your own code in place of this line")'
}
c.ClearSolutions.text_stub = "*Write your answer here: double-click, and put your own words in place of this line.*"

# what the form grader shows passes tools/clean.py once more, with whatever else lies in autograded/
TOOLS = str(Path(__file__).resolve().parent / "tools")
if TOOLS not in sys.path:
    sys.path.append(TOOLS)
c.HTMLExporter.preprocessors = ["clean.Clean"]
# nbgrader writes a name from an address into the scripts of its pages as it is: in these, it is written as HTML
formgrader = sys.modules.get("nbgrader.server_extensions.formgrader.formgrader")
if formgrader:
    formgrader.Environment = functools.partial(jinja2.Environment, autoescape=True)
