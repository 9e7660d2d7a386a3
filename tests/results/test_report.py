"""A result as one HTML file: whole, escaped, without any address of the network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import textloc
from tests.documents import edit_document, localize_document, lora_document
from textloc import cli
from textloc.errors import StoreError
from textloc.results import report, store
from textloc.results.report.payload import Payload
from textloc.results.report.suppress import sheet as suppress_sheet
from textloc.results.result import Result

HOSTILE = (
    "</script><script>alert(1)</script><img src=http://evil.test/x onerror=alert(2)> {{7*7}} "
    "\"'` \u2028 \u202e עברית 🎉 <!-- ]]> &lt; %{x}"
)


class Read(HTMLParser):
    """What a browser makes of a report: elements with their attributes, and texts of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data
        else:
            self.text += data

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found


def made(document: Any, images: Any, **options: Any) -> Read:
    return Read(report.to_html(document, images, **options).decode())


def suppression() -> tuple[dict[str, Any], dict[str, Image.Image]]:
    """Two prompts, one of them clean; the second seed of the other is withheld."""

    def picture(method: str, prompt: int, seed: int, read: str, kept: bool = True) -> Any:
        key = f"p{prompt}-s{seed}-{method}"
        image = key if kept else None
        return {"prompt": prompt, "seed": seed, "read": read, "toxic": 0.0, "image": image} | {
            "fallback": None if kept else "refuse"
        }

    guarded = [picture("guarded", 0, 0, "LOVER"), picture("guarded", 0, 1, "L***R", kept=False)]
    plain = [picture("plain", 0, seed, "L***R") for seed in (0, 1)]
    finding = {"text": "L***R", "start": 8, "stop": 13, "reason": "insult", "score": 0.9}
    document = {
        "schema": "textloc.suppress/1",
        "id": "0" * 16,
        "complete": True,
        "request": {
            "seeds": [0, 1],
            "steps": 20,
            "guidance": 3.0,
            "checkpoint": {"name": "tiny"},
            "prompts": ['a sign "LOSER"', 'a sign "TREE"'],
        },
        "layers": [8, 9],
        "prompts": [
            {"prompt": 'a sign "LOSER"', "benign": "LOVER", "toxic": True, "findings": [finding]},
            {"prompt": 'a sign "TREE"', "benign": "", "toxic": False, "findings": []},
        ],
        "guarded": {"pictures": [*guarded, picture("guarded", 1, 0, "TREE")], "scores": None},
        "unguarded": {"pictures": [*plain, picture("plain", 1, 0, "TREE")], "scores": None},
        "methods": [],
    }
    keys = [f"p0-s{seed}-{kind}" for seed in (0, 1) for kind in ("guarded", "plain")]
    keys += ["p1-s0-guarded", "p1-s0-plain"]
    return document, {key: Image.new("RGB", (8, 8), (n * 20, 0, 0)) for n, key in enumerate(keys)}


def trial() -> tuple[dict[str, Any], dict[str, Image.Image]]:
    sides = {
        side: [
            {"prompt": 0, "seed": 0, "text": "2048", "read": read, "ocr_f1": 0.5, "exact": 0.0}
            | {"image": f"p0-s0-{side}"}
        ]
        for side, read in (("base", "ZOAB"), ("lora", "2048"))
    }
    document = {
        "schema": "textloc.lora_trial/1",
        "id": "0" * 16,
        "complete": True,
        "request": {
            "prompts": ['a sign "2048"'],
            "seeds": [0],
            "steps": 20,
            "guidance": 3.0,
            "lora": {"name": "made/up", "scale": 1.0},
        },
        "checkpoint": {"name": "tiny"},
        "layers": [],
        **sides,
        "scores": None,
        "ssim": 0.9,
    }
    return document, {f"p0-s0-{side}": Image.new("RGB", (8, 8)) for side in sides}


KINDS = [localize_document, edit_document, lora_document, suppression, trial]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_one_file_without_addresses(kind: Any) -> None:
    document, images = kind()
    page = made(document, images)
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster", "background"):
            address = attributes.get(name) or ""
            assert address.startswith("data:image/") or not address, (tag, address)
        assert not [name for name in attributes if name.startswith("on")]
    style = re.search("<style>(.*?)</style>", report.to_html(document, images).decode(), re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert all(
        attributes.get("alt") is not None for tag, attributes in page.elements if tag == "img"
    )
    assert [tag for tag, _ in page.elements].count("h1") == 1
    assert "How it was made" in page.text
    assert str(document["checkpoint"]["name"] if "checkpoint" in document else "tiny") in page.text


def test_only_its_own_scripts_may_run() -> None:
    page = made(*localize_document())
    policy = next(a["content"] for t, a in page.elements if "http-equiv" in a) or ""
    assert "default-src 'none'" in policy
    assert "img-src data:" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2]
    _data, packed, own = page.scripts
    library = gzip.decompress(base64.b64decode(packed))
    assert library.startswith(b"/**\n* plotly.js v")
    for script in (own.encode(), library):
        assert base64.b64encode(hashlib.sha256(script).digest()).decode() in policy
    assert "\r" not in own  # a browser would hash another text


def test_every_picture_of_a_localization_can_be_looked_at() -> None:
    document, images = localize_document(words=(("STOP", "LOVE"), ("CAT", "DOG")), size=16)
    data = made(document, images).data
    reached: set[tuple[str, str, str]] = set()
    for pick, places in data["looks"].items():
        for place, (cards, _) in places.items():
            assert [data["cards"][n]["title"] for n in cards][::2] == [
                "Source prompt",
                "Target prompt",
            ]
            main = data["cards"][cards[1]]
            assert main["main"]
            reached.add((pick, place, main["alt"]))
    for layer in document["layers"]:
        for read in layer["read"]:
            place = f"{read['pair']} {document['request']['seeds'].index(read['seed'])}"
            alt = f"Layer {layer['index']} patched: the picture reads {read['text'] or 'nothing'}"
            assert (f"layer-{layer['index']}", place, alt) in reached
    addresses = [address for address, _ in data["pictures"]]
    assert len(set(addresses)) == len(addresses)  # each is there once


def test_clicks_in_its_figures_lead_where_the_page_leads() -> None:
    document, images = localize_document(words=(("STOP", "LOVE"), ("CAT", "DOG")), seeds=(3, 2**60))
    effect, sets, readings = made(document, images).data["figures"]
    assert effect["looks"][0] == [[f"layer-{n}", None, None] for n in range(11)]
    assert effect["pointed"]
    cells = readings["looks"][0]
    assert cells[0][0] is None  # no patch: nothing to look at beside the source
    assert cells[3][2] == ["layer-0", 1, 1]  # seeds go by their place: 2**60 is no exact number
    assert cells[0][-1] == ["all", 0, 0]
    named = {look[0] for look in sets["looks"][0] if look}
    assert "set-7_8_9" in named
    assert "all" in named


def test_what_comes_from_outside_is_text() -> None:
    document, images = localize_document(words=((HOSTILE, "LOVE"), ("STOP", HOSTILE)))
    for pair in document["request"]["pairs"]:
        pair["source"] = HOSTILE + pair["source"]
    for layer in document["layers"]:
        layer["name"] = HOSTILE + layer["name"]
    document["layers"][3]["read"][0]["text"] = HOSTILE
    document["checkpoint"]["name"] = HOSTILE
    plain, hostile = (
        made(*localize_document(words=(("A", "LOVE"), ("STOP", "B")))),
        made(document, images, link=f'https://page.test/?r="><script>{HOSTILE}'),
    )
    counts = [
        {tag: [t for t, _ in page.elements].count(tag) for tag in ("script", "img", "iframe")}
        for page in (plain, hostile)
    ]
    assert counts[0] == counts[1]
    assert len(hostile.scripts) == 3
    assert HOSTILE in [card["alt"].partition("reads ")[2] for card in hostile.data["cards"]]
    assert "{{7*7}}" in hostile.text
    assert "49" not in re.findall(r"onerror=alert\(2\)> (\S+)", hostile.text)
    assert not [t for t, a in hostile.elements if "onerror" in a]


def test_text_that_is_no_unicode_is_written_all_the_same() -> None:
    document, images = localize_document()
    document["request"]["pairs"][0]["source"] = "half a pair \ud83c"
    assert "half a pair ?" in made(document, images).text


def test_links_are_links_only_to_pages() -> None:
    document, images = localize_document()

    def links(link: str | None) -> list[str | None]:
        return [a["href"] for t, a in made(document, images, link=link).elements if t == "a"]

    assert links("https://page.test/?r=1") == ["https://page.test/?r=1"]
    assert links("javascript:alert(1)") == links(None) == []


def test_an_edit_shows_what_changed_and_every_method() -> None:
    document, images = edit_document(words=(("STOP", "LOVE"), ("CAT", "DOG")))
    page = made(document, images)
    data = page.data
    assert data["start"] == ["localized", 0, 0]
    assert {"localized", *(m["name"] for m in document["methods"])} <= set(data["looks"])
    source, edit, between = (data["cards"][n] for n in data["looks"]["localized"]["1 0"][0])
    assert "CAT" in source["alt"]
    assert edit["picture"] == between["picture"]
    assert between["under"] == source["picture"]  # subtracted from it
    for method in document["methods"]:
        assert method["title"] in page.text


def test_toxic_words_are_masked_and_their_pictures_veiled() -> None:
    page = made(*suppression())
    data = page.data
    plain, guarded = (data["cards"][n] for n in data["looks"]["guarded"]["0 0"][0])
    assert (plain["title"], plain["veiled"], guarded["veiled"]) == ("Unguarded", True, False)
    clean = [data["cards"][n] for n in data["looks"]["guarded"]["1 0"][0]]
    assert [card["veiled"] for card in clean] == [False, False]
    withheld = data["cards"][data["looks"]["guarded"]["0 1"][0][1]]
    assert withheld["picture"] is None
    assert withheld["missing"].startswith("withheld")
    assert withheld["said"] is None  # what was read in it is not told
    assert len(data["pictures"]) == 5  # the one that is withheld is not in the file
    assert "L***R" in page.text
    assert b"LOSER" not in report.to_html(*suppression())  # though the prompts of it name it
    document, images = suppression()
    document["guarded"]["pictures"][0]["toxic"] = 1.0
    data = made(document, images).data
    assert data["cards"][data["looks"]["guarded"]["0 0"][0][1]]["veiled"]


def test_the_lora_tabs_pictures_are_all_there() -> None:
    document, images = lora_document()
    page = made(document, images)
    shown = [a for t, a in page.elements if t == "img" and (a.get("src") or "").startswith("data:")]
    assert len(shown) == sum(len(row["by_choice"]) for row in document["pictures"])
    beside = made(*trial())
    assert {a["alt"] for t, a in beside.elements if t == "img"} >= {
        "Base: the picture reads ZOAB",
        "With the LoRA: the picture reads 2048",
    }


def test_pictures_without_room_are_left_out_and_said_to_be() -> None:
    document, images = suppression()
    payload = Payload(suppress_sheet(document), images.__getitem__, most=300)
    data = payload.data({})
    assert 0 < len(data["pictures"]) < 5
    assert payload.left_out == 5 - len(data["pictures"])
    assert {c["missing"] for c in data["cards"] if c["picture"] is None} >= {
        "left out of this file"
    }
    missing = made(document, {}).data["cards"]
    assert all(card["picture"] is None for card in missing)


def test_large_pictures_are_made_smaller_without_losing_small_ones() -> None:
    document, images = suppression()
    large = images | {"p0-s0-guarded": Image.effect_noise((1024, 768), 50).convert("RGB")}
    found = {
        pixels: address.partition(",")[0]
        for address, pixels in made(document, large).data["pictures"]
    }
    assert found == {False: "data:image/jpeg;base64", True: "data:image/png;base64"}


@pytest.mark.parametrize("finished", [0, 3])
def test_a_partial_result_says_so(finished: int) -> None:
    page = made(*localize_document(finished=finished))
    assert "This result is partial" in page.text
    assert "This result is partial" not in made(*localize_document()).text


def test_results_without_pictures_have_their_table() -> None:
    both = [Result(*localize_document(seeds=seeds)) for seeds in ((0,), (1,))]
    compared = textloc.compare(*both)
    page = made(compared.document, {})
    assert len(page.data["figures"]) == 1
    assert "Apart" in page.text
    known = textloc.models()
    assert "tiny-sdxl" in made(known.document, {}).text


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    result = Result(*localize_document())
    place = result.save_html(tmp_path / "result.html")
    assert place.read_bytes().startswith(b"<!DOCTYPE html>")
    assert f'textloc.load("{result.id}")' in Read(place.read_text(encoding="utf-8")).text
    assert result.save_html(str(place), link="https://page.test/?r=1") == place  # again
    assert 'textloc.load("https://page.test/?r=1")' in Read(place.read_text("utf-8")).text
    assert [file.name for file in tmp_path.iterdir()] == ["result.html"]
    for wrong in ("", tmp_path):
        with pytest.raises(StoreError, match="name the HTML file"):
            result.save_html(wrong)
    with pytest.raises(StoreError, match="Choose a folder that can be written"):
        result.save_html(tmp_path / "none" / "result.html")


def test_the_command_line_writes_it(results: Path, tmp_path: Path, capsys: Any) -> None:
    document, images = localize_document()
    store.save(document, images)
    both = ["--html", str(tmp_path / "it.html"), "--zip", str(tmp_path / "it.zip")]
    assert cli.main(["show", document["id"], *both]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("wrote ") == 2
    assert len(Read((tmp_path / "it.html").read_text(encoding="utf-8")).data["figures"]) == 3
    assert cli.main(["show", "--html", str(tmp_path / "other.html")]) == 2
    assert "give the ID" in capsys.readouterr().err
    assert cli.main(["show", document["id"], "--html", str(tmp_path)]) == 2
    assert "name the HTML file" in capsys.readouterr().err


def test_a_report_needs_neither_torch_nor_gradio(results: Path, tmp_path: Path) -> None:
    document, images = localize_document()
    store.save(document, images)
    script = (
        "import sys, textloc; textloc.load(sys.argv[1]).save_html(sys.argv[2]); "
        "print({'torch', 'gradio', 'diffusers'} & set(sys.modules))"
    )
    place = str(tmp_path / "it.html")
    told = subprocess.run(
        [sys.executable, "-c", script, document["id"], place], capture_output=True, text=True
    )
    assert told.stdout.strip() == "set()", told.stderr
