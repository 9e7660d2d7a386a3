"""The named endpoints of a page that is really served, asked by Gradio's own client."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from PIL import Image, ImageDraw, ImageFont

import textloc
from tests.browser.serving import Served
from tests.ui.endpoints import served, under
from textloc.paths import FONTS, ROOT
from textloc.results import store

_SERVER = rf"{re.escape(str(ROOT.parent))}/|/tmp/|/etc/|Traceback|site-packages"
"""What an answer never says of the server."""
NAMES = {"localize", "attribute", "edit", "suppress", "read", "list", "get"}
SOURCE = 'a red sign that says "STOP"'
GOOD: dict[str, list[Any]] = {
    "localize": [SOURCE, "LOVE", "tiny-sdxl", [0], None, None, 0, "", "shown"],
    "attribute": [SOURCE, "LOVE", "tiny-sdxl", [0], None, None],
    "edit": [SOURCE, "LOVE", None, "tiny-sdxl", "8-10", 0, [0], [], None, None, "shown"],
    "suppress": [
        *('a red sign that says "LOSER"', "", [], "tiny-sdxl", [], True, "more-layers", [0]),
        *("auto", None, None, "shown", "usual", []),
    ],
    "read": [None, "auto"],
    "list": [""],
    "get": ["0123456789abcdef", "shown"],
}


@pytest.fixture(scope="module")
def page(made_up_page: tuple[Served, dict[str, str]]) -> tuple[Served, dict[str, str]]:
    return made_up_page


@pytest.fixture(scope="module")
def ids(page: tuple[Served, dict[str, str]]) -> dict[str, str]:
    return page[1]


@pytest.fixture(scope="module")
def client(page: tuple[Served, dict[str, str]]) -> Client:
    return Client(page[0].address, verbose=False, analytics_enabled=False)


@pytest.fixture
def sign(tmp_path: Path) -> Path:
    picture = Image.new("RGB", (300, 200), "white")
    font = ImageFont.truetype(str(FONTS / "DejaVuSans-Bold.ttf"), 60)
    ImageDraw.Draw(picture).text((50, 60), "BREAD", "black", font)
    picture.save(tmp_path / "sign.png")
    return tmp_path / "sign.png"


def sent(page: Served, name: str, data: Any) -> tuple[int, str]:
    """A call as plain HTTP: status, and what comes back."""
    body = json.dumps({"data": data})
    call = f"{page.address}gradio_api/call/{name}"
    joined = httpx.post(call, content=body, headers={"content-type": "application/json"})
    if joined.status_code != 200:
        return joined.status_code, joined.text
    found = httpx.get(f"{call}/{joined.json()['event_id']}", timeout=60)
    return found.status_code, found.text


def test_just_the_documented_endpoints_are_public(client: Client) -> None:
    said = client.view_api(return_format="dict", print_info=False)
    assert {name.lstrip("/") for name in said["named_endpoints"]} == NAMES
    assert not said["unnamed_endpoints"]
    for name, endpoint in said["named_endpoints"].items():
        assert endpoint["description"].endswith(".")
        assert len(endpoint["parameters"]) == len(GOOD[name.lstrip("/")])
    public = [one for one in client.config["dependencies"] if one["api_visibility"] != "private"]
    assert {one["api_name"] for one in public} == NAMES
    assert "api" in client.config["footer_links"]
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.M)) == NAMES


def test_a_run_is_streamed_and_stored(client: Client, page: tuple[Served, dict[str, str]]) -> None:
    job = client.submit(SOURCE, "MOON", seeds=[0, 1], api_name="/localize")
    told = list(job)
    growing = [len(one["document"]["layers"]) for one in told if one["document"]]
    assert growing[0] < growing[-1]
    assert growing == sorted(growing)
    assert [one["complete"] for one in told].index(True) == next(
        place for place, one in enumerate(told) if one["link"]
    )
    last = job.result()
    assert last["complete"]
    assert last["document"] == store.load(last["id"], page[0].results).document
    assert last["says"].startswith("Layers 7, 8 and 9 of 11 write the words")
    assert last["link"] == f"{page[0].address}?r={last['id']}"
    assert "p0-s1-set-7_8_9" in last["pictures"]
    for key, file in last["pictures"].items():
        kept = store.load(last["id"], page[0].results).image(key)
        with Image.open(file) as picture:
            assert picture.convert("RGB").tobytes() == kept.tobytes()


def test_an_edit_of_a_picture_of_ones_own(client: Client, sign: Path) -> None:
    found = client.predict(
        SOURCE, "LOVE", picture=handle_file(sign), layers="8-10", api_name="/edit"
    )
    assert found["complete"]
    assert found["document"]["inversions"]
    assert {"sources", "edits"} <= set(found["document"])
    assert len(found["pictures"]) == 2


def test_a_failed_run_has_told_what_it_had(client: Client) -> None:
    job = client.submit(SOURCE, "HALF", api_name="/localize")
    with pytest.raises(Exception, match="choose a smaller size"):
        job.result()
    assert job.outputs()[-1]["document"]["layers"]


def test_runs_take_turns(client: Client, page: tuple[Served, dict[str, str]]) -> None:
    """One at a time: while the first is held nothing of the second is made."""
    page[0].let(2)
    jobs = [client.submit(SOURCE, "HELD", seeds=[n], api_name="/localize") for n in (6, 7)]

    def begun() -> list[bool]:
        return [any(one["document"] for one in job.outputs()) for job in jobs]

    end = time.monotonic() + 60
    while not any(begun()) and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(1)
    assert sum(begun()) == 1
    page[0].let(5)
    assert all(job.result(timeout=60)["complete"] for job in jobs)


def test_a_caller_who_leaves_stops_the_run(
    client: Client, page: tuple[Served, dict[str, str]]
) -> None:
    page[0].let(1)
    held = client.submit(SOURCE, "HELD", api_name="/localize")
    while not held.outputs():
        time.sleep(0.05)
    held.cancel()
    next_one = client.submit(SOURCE, "RAIN", seeds=[5], api_name="/localize")
    assert next_one.result(timeout=60)["complete"]


def test_stored_results_are_listed_and_given(
    client: Client, page: tuple[Served, dict[str, str]], ids: dict[str, str]
) -> None:
    edits = client.predict("edit", api_name="/list")
    assert ids["edit"] in [one["id"] for one in edits]
    assert {one["kind"] for one in edits} == {"edit"}
    every = {one["id"] for one in client.predict(api_name="/list")}
    assert set(ids.values()) <= every
    assert "f" * 16 not in every  # damaged
    for name, result in ids.items():
        found = client.predict(result, api_name="/get")
        kept = store.load(result, page[0].results)
        assert found["document"] == kept.document, name
        assert found["pictures"]
        if name != "sdxl":  # of whose 70 layers the pictures are many, and the same
            every_picture = client.predict(result, "all", api_name="/get")["pictures"]
            assert set(every_picture) == {path.stem for path in kept.files()[1:]}
        assert client.predict(result, "none", api_name="/get")["pictures"] == {}


def test_a_picture_is_read(client: Client, sign: Path) -> None:
    found = client.predict(handle_file(sign), api_name="/read")
    assert found["text"] == "BREAD"
    assert found["engine"] == "rapidocr"
    (box,) = found["boxes"]
    assert box["text"] == "BREAD"
    assert 40 < box["polygon"][0][0] < 70


HOSTILE = [
    *(None, True, -1, 1e308, 2.5, "x" * 5000, "../../etc/passwd", "/etc/passwd", str(ROOT), "~/x"),
    *([], [1] * 100_000, ["a"], {"a": 1}, [True], [-1], [10**40], 10**40, "\ud83d", "a,b"),
    *(
        {"path": path, "meta": {"_type": "gradio.FileData"}}
        for path in ("README.md", "/etc/passwd")
    ),
    *(
        {"path": path, "meta": {"_type": "gradio.FileData"}}
        for path in ("README.md", "/etc/passwd", "\0", "a" * 9000, "http://127.0.0.1:1/x.png")
    ),
    *({"path": "/etc/passwd"}, "data:image/png;base64,AAAA", "data:x"),
]


@pytest.mark.parametrize("name", ["localize", "edit", "suppress", "read", "list", "get"])
def test_what_is_hostile_is_refused(page: tuple[Served, dict[str, str]], name: str) -> None:
    place = {"localize": 2, "edit": 3, "suppress": 3}.get(name, 0)  # where nothing odd is good
    for number in range(len(GOOD[name])):
        for value in HOSTILE if number in (place, 0) else HOSTILE[3:6]:
            data = list(GOOD[name])
            data[place] = "nonesuch" if name != "read" else None
            data[number] = value
            status, text = sent(page[0], name, data)
            given = json.dumps(value)
            assert status in (200, 422), (value, text)
            if status == 200 and not (name == "list" and "event: complete" in text):
                assert "event: error" in text
                assert "null" not in text, (value, text)
            for found in re.findall(_SERVER, text):
                assert found in given, (value, text)


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("data", [[], {"a": 1}, "x", None])
def test_a_call_without_its_values_is_refused(
    page: tuple[Served, dict[str, str]], name: str, data: Any
) -> None:
    status, text = sent(page[0], name, data)
    assert status == 422 or "of 1 values" in text
    assert "event: complete" not in text


@pytest.mark.parametrize(
    ("name", "changed", "blamed", "words"),
    [
        ("localize", {"target": "stop"}, "target", "both prompts ask for"),
        ("localize", {"source": "a sign"}, "source", "quotes no text"),
        ("localize", {"seeds": list(range(17))}, "seeds", "17 seeds are too many"),
        ("localize", {"seeds": [0.5]}, "seeds", "a seed is a whole number"),
        ("localize", {"model": "assets/checkpoints"}, "model", "there is no checkpoint"),
        ("localize", {"model": "assets/../x"}, "model", "there is no checkpoint"),
        ("localize", {"steps": 0}, "steps", "number of steps"),
        ("localize", {"start_step": 1.5}, "start_step", "start step"),
        ("localize", {"layers": "9-7"}, "layers", "backwards"),
        ("localize", {"pictures": "some"}, "pictures", "shown, all, none"),
        ("attribute", {"guidance": "big"}, "guidance", "is a number, not a text"),
        ("edit", {"methods": ["magic"]}, "methods", "prompt-swap"),
        ("edit", {"picture": "data:image/png;base64,AAAA"}, "picture", "the picture"),
        ("suppress", {"replacement": "IDIOT"}, "replacement", "toxic"),
        ("suppress", {"fallback": "hope"}, "fallback", "refuse"),
        ("suppress", {"strictness": "lenient"}, "strictness", "slurs"),
        ("suppress", {"languages": ["klingon"]}, "languages", "english"),
        ("suppress", {"words": ["a,b"]}, "words", "no comma"),
        ("read", {"picture": "data:,", "engine": "auto"}, "picture", "base64"),
        ("list", {"kind": "nonesuch"}, "kind", "attribute"),
        ("get", {"id": "../../x"}, "id", "not a result ID"),
    ],
)
def test_what_is_wrong_is_said_at_once_and_where(
    client: Client,
    page: tuple[Served, dict[str, str]],
    name: str,
    changed: dict[str, Any],
    blamed: str,
    words: str,
) -> None:
    known = client.view_api(return_format="dict", print_info=False)["named_endpoints"][f"/{name}"]
    names = [one["parameter_name"] for one in known["parameters"]]
    given = dict(zip(names, GOOD[name], strict=True)) | changed
    status, text = sent(page[0], name, list(given.values()))
    assert status == 422
    verdicts = {one["parameter_name"]: one for one in json.loads(text)["detail"]}
    assert words in verdicts[blamed]["message"]
    assert [one for one in verdicts if not verdicts[one]["is_valid"]] == [blamed]


def test_the_example_of_the_documentation_runs(
    page: tuple[Served, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(store.RESULTS_VARIABLE, str(tmp_path / "none"))
    exec(code.replace("http://127.0.0.1:7860/", page[0].address), {})
    assert (tmp_path / "effect.html").stat().st_size > 1000


def test_a_result_that_is_not_there_is_told(client: Client) -> None:
    with pytest.raises(Exception, match="no stored result 0123456789abcdef"):
        client.predict("0123456789abcdef", api_name="/get")


@pytest.mark.parametrize(
    "place", ["{id}/result.png", "{id}/..%2f..%2findex.png", "0123456789abcdef/p0-s0-source.png"]
)
def test_only_pictures_of_results_are_served(
    page: tuple[Served, dict[str, str]], ids: dict[str, str], place: str
) -> None:
    address = f"{page[0].address}gradio_api/textloc/" + place.format(id=ids["usual"])
    assert httpx.get(address).status_code == 404


@pytest.mark.slow
def test_links_open_in_python_also_under_a_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.RESULTS_VARIABLE, str(tmp_path / "elsewhere"))
    with (
        served(tmp_path, GRADIO_ROOT_PATH="/words") as (page, ids),
        under(page.address, "/words") as outside,
    ):
        client = Client(outside, verbose=False, analytics_enabled=False)
        found = client.predict(ids["usual"], api_name="/get")
        assert found["link"] == f"{outside}?r={ids['usual']}"
        with Image.open(found["pictures"]["p0-s0-source"]) as picture:
            assert picture.size == (64, 64)
        kept = store.load(ids["usual"], page.results)
        for link in (found["link"], f"{outside.rstrip('/')}?r={ids['usual']}&layer=9&seed=1"):
            loaded = textloc.load(link)
            assert loaded.document == kept.document
            assert loaded.images["p0-s0-source"].tobytes() == kept.image("p0-s0-source").tobytes()
