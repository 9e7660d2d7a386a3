"""A Space of one's own, on a stand-in for the Hub."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests import hub_writing
from textloc import cli, space
from textloc.errors import SpaceError
from textloc.paths import ROOT

NAME = "ann/words"
SPACE = f"spaces/{NAME}"
RESULTS = "hf://datasets/ann/kept"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_writing.Hub]:
    with hub_writing.serve(monkeypatch) as found:
        yield found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few of the files, enough for what is sent and how."""
    files = space._files()
    few = [
        *("README.md", "app.py", "requirements.txt", "textloc/version.py", "textloc/ui/page.py"),
        *("assets/fonts/LICENSE.txt", "cached_results/index.json"),
    ]
    monkeypatch.setattr(space, "_A_COMMIT", 1)
    monkeypatch.setattr(space, "_files", lambda: {path: files[path] for path in few})


def test_what_a_space_needs_and_no_more() -> None:
    files = space.plan(NAME).files
    card = files["README.md"]
    assert isinstance(card, bytes)
    assert card.startswith(b"---\ntitle: textloc\n")
    assert b"sdk: gradio\n" in card
    assert b"pytest" not in card
    for needed in (
        "app.py",
        "requirements.txt",
        "textloc/ui/page.py",
        "textloc/ui/static/figure.js",
        "assets/fonts/LICENSE.txt",
        "assets/checkpoints/tiny-sdxl/model_index.json",
        "cached_results/index.json",
    ):
        assert needed in files
    assert json.loads((ROOT / "cached_results/index.json").read_text())["textloc.localize"] in {
        path.split("/")[1] for path in files if path.startswith("cached_results/")
    }
    for path in files:
        assert not path.startswith(("tests/", ".ci/", "docs/", "assets/page.png", ".git"))
        assert "__pycache__" not in path
        assert not path.endswith(".pyc")


@pytest.mark.usefixtures("small")
def test_a_space_is_made(hub: hub_writing.Hub, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["deploy", NAME, "--hardware", "t4-small", "--private", "--results", RESULTS]
    assert cli.main(asked) == 0
    made = hub.repositories[SPACE]
    assert made.created["sdk"] == "gradio"
    assert made.created["visibility"] == "private"
    assert made.hardware == "t4-small"
    assert made.variables == {"TEXTLOC_RESULTS": RESULTS}
    assert made.files["app.py"] == (ROOT / "app.py").read_bytes()
    assert made.commits == 3  # what runs comes last
    assert hub.repositories["datasets/ann/kept"].created["visibility"] == "private"
    said = capsys.readouterr().out
    assert said.endswith("https://huggingface.co/spaces/ann/words\n")
    assert "secret to set: HF_TOKEN" in said
    assert hub_writing.TOKEN not in said


@pytest.mark.usefixtures("small")
def test_a_space_is_updated(hub: hub_writing.Hub) -> None:
    space.send(space.plan(NAME))
    held = hub.repositories[SPACE]
    held.files |= {"textloc/gone.py": b"", "notes.txt": b"mine", "app.py": b"old"}
    held.variables["TEXTLOC_MODELS"] = "sdxl"
    space.send(space.plan(NAME))
    assert "textloc/gone.py" not in held.files
    assert held.files["notes.txt"] == b"mine"
    assert held.files["app.py"] == (ROOT / "app.py").read_bytes()
    assert held.variables == {"TEXTLOC_MODELS": "sdxl"}
    assert held.hardware == ""


@pytest.mark.usefixtures("small")
def test_one_that_was_begun_is_ended(hub: hub_writing.Hub) -> None:
    def broken() -> None:
        raise BrokenPipeError

    hub.before_commit.append(broken)
    with pytest.raises(SpaceError, match="run the same command again"):
        space.send(space.plan(NAME))
    hub.repositories[SPACE].files["assets/fonts/LICENSE.txt"] = b"of the first commit"
    space.send(space.plan(NAME))
    assert "textloc/version.py" in hub.repositories[SPACE].files


@pytest.mark.usefixtures("small")
def test_what_somebody_made_otherwise_is_left_alone(hub: hub_writing.Hub) -> None:
    hub.repositories[SPACE] = hub_writing.Repository({"app.py": b"theirs"})
    with pytest.raises(SpaceError, match="holds something else"):
        space.send(space.plan(NAME))
    assert hub.repositories[SPACE].files == {"app.py": b"theirs"}


def test_a_dry_run_sends_nothing(hub: hub_writing.Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["deploy", NAME, "--results", RESULTS, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert hub.asked == []
    assert "textloc/ui/page.py" in said
    assert "nothing was sent" in said
    assert f"variable: TEXTLOC_RESULTS={RESULTS}" in said


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["words"], "write owner/name"),
        (["../words"], "write owner/name"),
        (["ann/words/more"], "write owner/name"),
        ([NAME, "--hardware", "T4 small"], "no hardware of the Hub"),
        ([NAME, "--hardware", "zero-a10g"], "choose a GPU of the Space's own"),
        ([NAME, "--results", "s3://bucket"], "keeps its results on the Hub"),
        ([NAME, "--results", "hf://ann/model"], "write hf://datasets/owner/name"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(
    asked: list[str], said: str, hub: hub_writing.Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["deploy", *asked]) == 2
    assert said in capsys.readouterr().err
    assert hub.asked == []


@pytest.mark.usefixtures("small")
def test_what_the_hub_refuses_is_one_line(
    hub: hub_writing.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = space.plan(NAME)
    hub.refuses = ("/api/repos/create",)
    with pytest.raises(SpaceError, match="may not write for ann"):
        space.send(planned)
    hub.refuses = ()
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    with pytest.raises(SpaceError, match="does not know the token"):
        space.send(planned)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(SpaceError, match="hf auth login"):
        space.send(planned)


@pytest.mark.usefixtures("small")
def test_the_hub_is_away(hub: hub_writing.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SpaceError, match="cannot be reached"):
        space.send(space.plan(NAME))
