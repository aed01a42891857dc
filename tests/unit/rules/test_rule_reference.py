"""The reference of the language says what the language is."""

import re
from pathlib import Path

from strategies.rules.functions import CATALOGUE, TIMEFRAME_MINUTES
from strategies.rules.lexer import MAX_LENGTH
from strategies.rules.parser import MAX_DEPTH, MAX_NODES, MAX_REACH

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "rule-language.md").read_text(encoding="utf-8")


def test_every_name_is_in_the_reference_as_the_tables_have_it_and_no_other():
    rows = set(re.findall(r"^\| `(.+?)` \| (.+?) \| `(.+?)` \|$", TEXT, re.MULTILINE))
    assert rows == {(entry.signature, entry.doc, entry.example) for entry in CATALOGUE.values()}


def test_bounds_and_timeframes_are_told_as_they_are():
    for bound in (MAX_LENGTH, MAX_NODES, MAX_DEPTH, MAX_REACH):
        assert f"{bound:,}" in TEXT
    assert " ".join(TIMEFRAME_MINUTES) in " ".join(TEXT.split())


def test_every_code_of_a_refusal_is_explained():
    sources = [ROOT / "strategies" / "rules" / name for name in ("lexer.py", "parser.py", "compiled.py")]
    codes = {code for path in sources for code in re.findall(r'RuleError\(\s*"([A-Z_]+)"', path.read_text())}
    assert len(codes) > 20
    assert codes <= set(re.findall(r"`([A-Z_]+)`", TEXT))
