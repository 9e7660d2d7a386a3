"""Making anew what ships: the order of the work, what is skipped, links, kills and failures."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.documents import localize_document
from textloc import cli
from textloc.checkpoints.loras import ABOUT, FILE
from textloc.errors import ReproduceError
from textloc.jobs.job import Job
from textloc.paths import ROOT
from textloc.results import store
from textloc.tiny.reproducing import links, manifest, record
from textloc.tiny.reproducing.running import Reproduction, ship

MAKE = """
import json, shutil, sys
from pathlib import Path

word, seed = sys.argv[1:3]
with open("ran", "a") as ran:
    print(word, file=ran)
if Path(f"break-{word}").exists():
    sys.exit("no such word")
weights = Path("assets/checkpoints/fake/unet/diffusion_pytorch_model.safetensors").read_text()
made, = Path(f"pool/{weights}-{word}-{seed}").iterdir()
shutil.rmtree(Path("cached_results") / made.name, ignore_errors=True)  # as the store does
shutil.copytree(made, Path("cached_results") / made.name)
Path(sys.argv[sys.argv.index("--json") + 1]).write_text(json.dumps({"id": made.name}))
"""
"""A command that takes its result from a pool, so that it starts at once."""
MEASURE = """
import json, sys
from pathlib import Path

weights = Path("assets/checkpoints/fake/unet/diffusion_pytorch_model.safetensors").read_text()
Path(sys.argv[sys.argv.index("--json") + 1]).write_text(json.dumps({"seed": len(weights)}))
"""
ENTRIES = """
[[entry]]
name = "love"
makes = "result"
command = "python make.py LOVE 0"
of = ["fake"]
seconds = 9

[[entry]]
name = "count"
makes = "measure"
command = "python measure.py"
of = ["fake"]
seconds = 5

[[entry]]
name = "rain"
makes = "result"
command = "python make.py RAIN {found:count:seed}"
of = ["fake"]
needs = ["count"]
seconds = 1

[[entry]]
name = "words"
makes = "file"
path = "words.txt"
command = '''python -c "print('{result:rain}', file=open('words.txt', 'w'))"'''
of = ["fake"]
needs = ["rain"]
seconds = 1
"""
NAMING = ("README.md", "docs/a.md", "tests/t.py", "pyproject.toml", "cached_results/index.json")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with one checkpoint and the entries above."""
    place = tmp_path / "checkout"
    weights = place / "assets" / "checkpoints" / "fake"
    (weights / "unet").mkdir(parents=True)
    (weights / "model_index.json").write_text('{"unet": ["diffusers", "UNet2DConditionModel"]}')
    for folder in ("cached_results", "docs", "tests", "textloc"):
        (place / folder).mkdir()
    (place / "make.py").write_text(MAKE)
    (place / "measure.py").write_text(MEASURE)
    (tmp_path / "manifest.toml").write_text(ENTRIES)
    train(place, "1")
    return place


def pooled(root: Path, word: str, seed: int, pool: Path, digest: str | None = None) -> None:
    """Store a result of the present weights, or of `digest`, in `pool`."""
    document, images = localize_document(6, words=[("STOP", word)], seeds=(seed,), size=2)
    own = {
        "name": "fake",
        "revision": None,
        "digest": digest or record.digest(root, "fake"),
    }
    document["request"]["checkpoint"] = own
    document["checkpoint"] = {**document["checkpoint"], **own}
    document["id"] = store.request_id(document["request"])
    store.save(document, images, pool)


def train(root: Path, weights: str) -> None:
    """Give the checkpoint other weights, and the commands results of these."""
    folder = root / "assets" / "checkpoints" / "fake" / "unet"
    (folder / "diffusion_pytorch_model.safetensors").write_text(weights)
    for word, seed in (("LOVE", 0), ("HOPE", 0), ("RAIN", len(weights))):
        pool = root / "pool" / f"{weights}-{word}-{seed}"
        if not pool.exists():
            pooled(root, word, seed, pool)


def work(root: Path, **options: Any) -> Reproduction:
    return Reproduction(root, manifest.read(root.parent / "manifest.toml"), **options)


def ran(root: Path) -> list[str]:
    return (root / "ran").read_text().split()


def stored(root: Path) -> set[str]:
    return {path.name for path in (root / "cached_results").iterdir() if path.is_dir()}


# -- the work ---------------------------------------------------------------------------------


def test_what_is_made_is_not_made_again(root: Path) -> None:
    assert work(root).run() == ["count", "rain", "words", "love"]
    pictures = [*(root / "cached_results").glob("*/images/*")]
    assert {path.suffix for path in pictures} == {".webp"}  # many ship
    again = work(root)
    assert [line.state for line in again.listing()] == ["made"] * 4
    assert all(line.seconds is not None for line in again.listing())
    assert again.run() == []
    assert ran(root) == ["RAIN", "LOVE"]
    assert (root / "words.txt").read_text().strip() == again.record.id("rain")


def test_only_what_is_named_and_what_it_needs(root: Path) -> None:
    assert work(root).run(["rain"]) == ["count", "rain"]
    with pytest.raises(ReproduceError, match="'snow'"):
        work(root).run(["snow"])


def test_other_weights_make_other_results_and_links_follow(root: Path) -> None:
    work(root).run()
    first = work(root).record
    old, kept = first.id("love"), first.id("rain")
    for name in NAMING:
        (root / name).write_text(f'"{old}" ?r={kept} {old}0 0123456789abcdef')
    (root / "LOG.md").write_text(old)

    for weights in ("22", "333"):  # the second goes on from the first
        train(root, weights)
        assert {line.state for line in work(root).listing()} == {"made from other weights"}
        work(root).run()
        now = work(root).record
        for name in NAMING:
            said = f'"{now.id("love")}" ?r={now.id("rain")} {old}0 0123456789abcdef'
            assert (root / name).read_text() == said
        assert stored(root) == {now.id("love"), now.id("rain")}
        assert now.id("love") != old
        assert now.now()[old] == now.id("love")
    assert (root / "LOG.md").read_text() == old  # tells of what was measured then
    asked = store.load(now.id("rain"), root / "cached_results").document["request"]
    assert asked["seeds"] == [3]  # of the measure of the same weights


def test_old_weights_bring_their_results_back(root: Path) -> None:
    work(root).run()
    old = work(root).record.id("love")
    (root / "README.md").write_text(old)
    for weights in ("22", "1"):
        train(root, weights)
        work(root).run()
    assert (root / "README.md").read_text() == old
    assert old in stored(root)


def test_a_changed_command_is_run_again(root: Path) -> None:
    work(root).run()
    file = root.parent / "manifest.toml"
    file.write_text(file.read_text().replace("LOVE 0", "HOPE 0"))
    assert {line.name: line.state for line in work(root).listing() if line.state != "made"} == {
        "love": "made by another command"
    }
    file.write_text(file.read_text().replace("measure.py", "measure.py --again"))
    states = {line.name: line.state for line in work(root).listing()}
    assert states["rain"] == "made from what is made anew"


def test_what_is_lost_is_made_again(root: Path) -> None:
    work(root).run()
    lost = work(root).record.id("rain")
    (root / "cached_results" / lost / "result.json").write_text("{}")
    (root / "words.txt").unlink()
    states = {line.name: line.state for line in work(root).listing()}
    assert states["rain"] == "its result is gone or damaged"
    assert states["words"] == "words.txt is gone"
    assert work(root).run() == ["rain", "words"]


def test_a_kill_between_noting_and_following_is_mended(root: Path) -> None:
    work(root).run()
    old = work(root).record.id("love")
    (root / "README.md").write_text(old)
    train(root, "22")
    killed = work(root)
    killed.settle = lambda: None  # type: ignore[method-assign]
    killed.run()
    assert old in stored(root)
    assert (root / "README.md").read_text() == old
    assert work(root).run() == []
    assert old not in stored(root)
    assert (root / "README.md").read_text() == killed.record.id("love")


def test_a_failure_stops_only_what_needs_it(root: Path) -> None:
    (root / "break-RAIN").touch()
    said: list[str] = []
    with pytest.raises(ReproduceError, match=r"^2 made; failed: rain, words"):
        work(root, say=said.append).run()
    assert any(line.startswith("rain: its command ended with 1") for line in said)
    assert any("no such word" in line for line in said)
    (root / "break-RAIN").unlink()
    assert work(root).run() == ["rain", "words"]


def test_results_of_other_weights_do_not_count(root: Path) -> None:
    """Such as where a checkpoint is replaced while a command runs."""
    pool = root / "pool" / "1-LOVE-0"
    shutil.rmtree(pool)
    pooled(root, "LOVE", 0, pool, digest="sha256:0")
    with pytest.raises(ReproduceError, match="failed: love"):
        work(root).run(["love"])


def test_commands_run_side_by_side_and_stop_at_once(root: Path) -> None:
    (root.parent / "manifest.toml").write_text(
        "\n".join(
            f"[[entry]]\nname = '{name}'\nmakes = 'file'\npath = '{name}'\nof = ['fake']\n"
            f'command = \'python -c "import time; open(\\"{name}\\", \\"w\\"); time.sleep(60)"\''
            for name in ("one", "two")
        )
    )
    running = work(root, jobs=2)
    began = time.monotonic()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            running.run()
        except ReproduceError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not ((root / "one").exists() and (root / "two").exists()):
        assert time.monotonic() - began < 50
        time.sleep(0.02)
    running.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert "failed: " in str(failed[0])
    assert record.read(root).entries == {}


def test_what_is_timed_runs_alone(root: Path) -> None:
    entries = manifest.read(root.parent / "manifest.toml")
    timed = {**entries, "love": manifest.Entry(**{**vars(entries["love"]), "alone": True})}
    work_ = Reproduction(root, timed, jobs=2)
    going: Any = {object(): "count"}
    assert not work_._has_room("love", going)
    assert work_._has_room("rain", going)
    assert work_._has_room("love", {})


def test_word_lists_that_do_not_ship_are_asked_for(root: Path) -> None:
    (root.parent / "manifest.toml").write_text(
        "[[entry]]\nname = 'a'\nmakes = 'file'\npath = 'a'\ncommand = 'python {data}/a'\n"
    )
    said: list[str] = []
    with pytest.raises(ReproduceError, match="failed: a"):
        work(root, say=said.append).run()
    assert any("--data FOLDER" in line for line in said)
    entry = work(root).entries["a"]
    assert work(root, data=root).words(entry)[1:] == [f"{root.resolve()}/a"]


def test_a_damaged_record_is_told(root: Path) -> None:
    (root / "cached_results" / record.FILE).write_text("{")
    with pytest.raises(ReproduceError, match="git checkout"):
        work(root)


# -- the manifest -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("name = 'a'", "a is not whole"),
        ("name = 'a'\nmakes = 'cake'\ncommand = 'python a'", "makes 'cake'"),
        ("name = 'a'\nmakes = 'result'\ncommand = 'rm a'", "begins with none"),
        ("name = 'a'\nmakes = 'file'\ncommand = 'python a'", "has no path"),
        ("name = 'a'\nmakes = 'result'\ncommand = 'python a'\nneeds = ['b']", "needs b"),
        ("name = 'a'\nmakes = 'result'\ncommand = 'python {result:b}'", "does not need b"),
        ("name = 'a'\nmakes = 'result'\ncommand = 'python a'\nneeds = ['a']", "need each other"),
        ("name = 'a'\nmakes = 'result'\ncommand = 'python a'\nstrange = 1", "strange"),
        ("name = ", "cannot read"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_told(entry: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_text(f"[[entry]]\n{entry}\n")
    with pytest.raises(ReproduceError, match=message):
        manifest.read(tmp_path / "manifest.toml")


def test_cheap_ones_come_first_and_needs_before_them(tmp_path: Path) -> None:
    lines = [("c", 1, []), ("b", 5, []), ("a", 3, ["b"]), ("d", 9, []), ("e", 2, ["d"])]
    (tmp_path / "manifest.toml").write_text(
        "\n".join(
            f"[[entry]]\nname='{name}'\nmakes='result'\ncommand='python x'\nseconds={seconds}\n"
            f"needs={needs}"
            for name, seconds, needs in lines
        )
    )
    entries = manifest.read(tmp_path / "manifest.toml")
    assert list(entries) == ["c", "b", "a", "d", "e"]
    assert manifest.ordered(entries, {"b": 20})[:3] == ["c", "d", "e"]  # took longer than thought


# -- what ships -------------------------------------------------------------------------------

SHIPPED = manifest.read()
KNOWN = record.read(ROOT)
RESULTS = [name for name, entry in SHIPPED.items() if entry.makes == "result"]


def test_every_stored_result_and_lora_has_its_entry() -> None:
    ids = [KNOWN.id(name) for name in RESULTS]
    folders = (p for p in (ROOT / "cached_results").iterdir() if p.is_dir() and p.name[0] != ".")
    assert sorted(ids) == sorted(path.name for path in folders)
    paths = {entry.path for entry in SHIPPED.values() if entry.makes == "file"}
    assert {f"assets/loras/{p.name}" for p in (ROOT / "assets" / "loras").iterdir()} <= paths
    assert {f"assets/{path.name}" for path in (ROOT / "assets").glob("*.png")} <= paths


def test_no_link_leads_to_a_result_that_is_gone() -> None:
    gone = set(KNOWN.now()) - {KNOWN.id(name) for name in RESULTS}
    for path in links.files(ROOT):
        text = path.read_text(encoding="utf-8")
        assert not gone & set(links._ID.findall(text)), path


class Asked(Exception):
    """What a command asks for."""


@pytest.mark.slow  # loads every checkpoint several times
@pytest.mark.parametrize("name", RESULTS)
def test_a_command_asks_for_what_is_stored(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Canonically the same request, so a result that is made anew answers the same question."""

    def asked(job: Job) -> None:
        raise Asked(job.asked())

    document = store.load(KNOWN.id(name), ROOT / "cached_results").document
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(Job, "run", asked)
    entry = SHIPPED[name]
    filled = {"run": "runs/none", "start_step": str(document.get("start_step"))}
    words = entry.filled(lambda place: filled[place.rpartition(":")[2]])
    if document["request"]["job"] == "lora":
        check_lora(words[1:], document["request"], monkeypatch)
        return
    with pytest.raises(Asked) as found:
        cli.main(words[1:])
    said, wanted = found.value.args[0], dict(document["request"])
    if "search" in wanted:  # at which steps a search by shares looks is its own, and no option
        wanted["steps_at"] = said["steps_at"]
    assert said == wanted


def check_lora(words: list[str], request: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from textloc.bench import lora

    def asked(bench: lora.Bench) -> None:
        settings = bench.settings.described()
        raise Asked(
            {
                "data": bench.place,
                "settings": {k: v for k, v in settings.items() if k not in ("layers", "seed")},
                "localized": list(bench.localized),
                "choices": list(bench.only),
                "seeds": list(bench.seeds),
                "prompts": [{"group": p.group, "prompt": p.prompt} for p in bench.prompts],
                "pictures": bench.pictures,
            }
        )

    monkeypatch.setattr(lora.Bench, "run", asked)
    with pytest.raises(Asked) as found:
        cli.main(words)
    said = json.loads(json.dumps(found.value.args[0]))
    assert said == {key: request[key] for key in said}


def test_a_trained_lora_is_put_where_those_that_ship_are(tmp_path: Path) -> None:
    run, loras = tmp_path / "localized-0", tmp_path / "loras"
    run.mkdir()
    with pytest.raises(ReproduceError, match="train to the end"):
        ship(run, "digits", loras)
    for name in (FILE, ABOUT, "state.pt"):
        (run / name).write_text(name)
    (run / "README.md").write_text('pipe.load_lora_weights("localized-0")')
    loras.mkdir()
    made = ship(run, "digits", loras)
    assert sorted(path.name for path in made.iterdir()) == sorted((FILE, ABOUT, "README.md"))
    assert (made / "README.md").read_text() == 'pipe.load_lora_weights("assets/loras/digits")'
