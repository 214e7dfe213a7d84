"""How results are shown, and that each has its hints."""

import ast
import re
from pathlib import Path

from injector.cli.checks import HINTS, Check, as_json, as_text, failed, has_failed, judged
from injector.cli.terminal import Paint

ROOT = Path(__file__).parents[4]
WELL = Check("it is well", "a")
POOR = failed("it is poor", "b", "because", result="warning")
BAD = failed("it is \x1b[2J bad", "c", "x", "y")


def test_for_people() -> None:
    assert list(as_text([("first", [WELL]), ("second", [POOR, BAD])], Paint())) == [
        "first", "-----", "√ it is well", "", "second", "------", "‼ it is poor", "    because", f"    see {HINTS}#b for hints",
        r"× it is \x1b[2J bad", "    x", "    y", f"    see {HINTS}#c for hints", "", "Status check results are ×",
    ]


def test_the_last_line() -> None:
    assert list(as_text([("first", [WELL])], Paint()))[-1] == "Status check results are √"
    assert list(as_text([("first", [WELL, POOR])], Paint()))[-1] == "Status check results are √ (1 warning)"
    assert list(as_text([("first", [POOR, POOR])], Paint()))[-1] == "Status check results are √ (2 warnings)"


def test_what_is_well_can_be_left_out() -> None:
    assert list(as_text([("first", [WELL]), ("second", [WELL, POOR])], Paint(), is_short=True)) == [
        "second", "------", "‼ it is poor", "    because", f"    see {HINTS}#b for hints", "", "Status check results are √ (1 warning)"]


def test_for_programs() -> None:
    assert as_json([("first", [WELL, BAD])]) == {"success": False, "categories": [{"categoryName": "first", "checks": [
        {"description": "it is well", "result": "success"},
        {"description": "it is \x1b[2J bad", "result": "error", "error": "x\ny", "hint": f"{HINTS}#c"},
    ]}]}
    assert not has_failed([("first", [WELL, POOR])])


def test_nothing_wrong_is_a_success() -> None:
    assert judged("a", "b", []).result == "success"
    assert judged("a", "b", ["x"], "warning").result == "warning"


def anchors() -> set[str]:
    """Of every check, by the second argument of what makes one, or the variable that is called so."""
    found: set[str] = set()
    for file in [*(ROOT / "injector/cli/checks").glob("*.py"), ROOT / "injector/cli/check.py"]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Check", "failed", "judged"):
                found |= {one.value for one in node.args[1:2] if isinstance(one, ast.Constant)}
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "(description, anchor)":
                assert isinstance(node.value, ast.Tuple)
                found.add(ast.literal_eval(node.value.elts[1]))
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "anchor":
                found |= {one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return found


def test_every_check_has_its_hints_and_every_hint_its_check() -> None:
    text = (ROOT / HINTS).read_text()
    written = re.findall(r'<a id="([a-z0-9-]+)"></a>', text)
    assert len(written) == len(set(written))
    assert set(written) == anchors()
    assert len(anchors()) > 25
