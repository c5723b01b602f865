"""How a page was made: in words, each thing once."""

from hasten.report.document import Definitions
from hasten.report.made import made_blocks


def test_facts_are_told_in_words_and_versions_once():
    facts = {"event_loop": "uvloop", "python": "3.0", "numpy": "9.9", "devices": 3}
    (told,) = (block.items for block in made_blocks("hasten run x", [0], facts) if isinstance(block, Definitions))
    assert told["event loop"] == "uvloop" and told["devices"] == "3"
    assert not {"python", "numpy", "event_loop"} & told.keys() and "numpy " in told["versions"]
