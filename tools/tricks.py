"""Name what a student's code has no need of: a person then reads it. It proves nothing, and finds no hidden trick."""

import re

SCORE = "score: "
"""What a test prints before a figure that the teacher wants to see, such as the mAP on the blind set."""
READ = "read its code, which "
"""How a remark begins that is for the teacher alone."""
TRICKS = {
    "says itself what its objects are equal to": r"__eq__|__ne__|__bool__",
    "looks into the functions that call it": (
        r"_getframe|currentframe|inspect\.stack|\bf_(back|globals|locals)\b|tb_frame"
    ),
    "searches Python's memory": r"\bgc\s*\.\s*get_|import\s+gc\b|from\s+gc\b",
    "reads the code of other cells": r"\bIn\b\s*[\[,).]|\b_ih\b|history_manager|raw_cell",
    "changes how cells are run": (
        r"(ast|input)_transformers|events\.register|set_custom_exc|get_ipython\s*\(\s*\)\s*\.\s*run"
    ),
    "traces Python": r"settrace|setprofile|sys\s*\.\s*monitoring",
    "replaces what belongs to a library": (
        r"\b(np|numpy|pd|pandas|builtins|chromadb|math|images|metrics|evaluate|clip|store|show|lab)(\.\w+)+\s*=(?!=)"
        r"|setattr\s*\(\s*(np|numpy|pd|pandas|builtins|chromadb|math|images|metrics|evaluate|clip|store|show|lab)\b"
    ),
    "ends processes, or starts them": (
        r"\bos\s*\.\s*(_exit|abort|kill|killpg|fork|system|exec\w*)\b|\b(subprocess|pty)\b"
    ),
    "prints what looks like a score": r"""["']\s*score:""",
    "looks for the grading": r"/proc/|gradebook|nbgrader|run_submission|examiner|\bwire\b|COURSE_BLIND",
    "goes around Python": r"\bctypes\b|\bcffi\b|/dev/(mem|shm)",
    "uses the network": r"\bimport\s+(socket|requests|httpx)\b|urllib\s*\.\s*request|urlopen",
}


def seen(code: list[str]) -> list[str]:
    """Return a remark that names what the code of some cells does, if it is anything of this kind.

    Parameters
    ----------
    code : list of str
        The sources of the cells that a student wrote.
    """
    text = "\n".join(line for source in code for line in source.splitlines() if not line.lstrip().startswith("#"))
    found = [what for what, pattern in TRICKS.items() if re.search(pattern, text)]
    return [READ + ", ".join(found)] if found else []
