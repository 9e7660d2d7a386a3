"""What the wheel holds of what ships: what the page opens with, and each checkpoint's layers."""

from __future__ import annotations

import json
import tomllib

from textloc.checkpoints.known import KNOWN
from textloc.paths import ROOT, SHIPPED_RESULTS
from textloc.results import store
from textloc.ui import typed

BUILD = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]
PACKED = BUILD["build"]["targets"]["wheel"]["force-include"]
RESULTS = {name.removeprefix("cached_results/") for name in PACKED if "cached_results" in name}


def test_what_is_packed_is_there_and_lands_where_it_is_looked_for() -> None:
    for source, target in PACKED.items():
        assert (ROOT / source).exists(), source
        assert target == f"textloc/_shipped/{source}"


def test_the_page_opens_and_every_checkpoint_knows_its_layers() -> None:
    index = json.loads((SHIPPED_RESULTS / "index.json").read_text(encoding="utf-8"))
    assert {"index.json", *index.values()} <= RESULTS
    documents = [store.load(name).document for name in RESULTS - {"index.json"}]
    for kind in ("textloc.localize", "textloc.attribute"):
        of = {
            d["checkpoint"]["name"]
            for d in documents
            if store.kind(d) == kind and len(d["request"]["pairs"]) >= 20
        }
        assert of == {entry.name for entry in KNOWN if entry.shipped}


def test_the_examples_of_the_form_are_stored_with_their_shares() -> None:
    asked = {
        (d["request"]["pairs"][0]["source"], d["request"]["pairs"][0]["target_text"])
        for d in (store.load(name).document for name in RESULTS - {"index.json"})
        if store.kind(d) == "textloc.localize" and d.get("shares")
    }
    assert {(source, word) for source, word in typed.examples("tiny-sdxl")} <= asked
