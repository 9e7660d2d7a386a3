"""What a run may take of a page, and its place in the line."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from textloc.errors import CheckpointError, LimitError, PromptError, TextlocError
from textloc.paths import ROOT
from textloc.reading.ocr.easyocr import EasyOCR
from textloc.ui import fields, limits, live, models
from textloc.ui.edit import order as edit
from textloc.ui.endpoints import orders
from textloc.ui.finetune import order as finetune
from textloc.ui.limits import Asked, Line, Visitor
from textloc.ui.localize import order as localizations

SOURCE = 'a red sign that says "STOP"'


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTLOC_PUBLIC", "1")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": 51}, "51 denoising steps .* give 50"),
        ({"pairs": 5}, "5 pairs or prompts .* give 4"),
        ({"seeds": 5}, "5 seeds .* give 4"),
        ({"size": 1025}, "1025 pixels a side .* give 1024"),
        ({"prompts": ("x" * 501,)}, "501 characters in a prompt .* give 500"),
    ],
)
def test_the_message_says_which_limit(
    changed: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"model": "tiny-sdxl", "prompts": ("x",), "pairs": 1, "seeds": 1, "steps": None}
    limits.check(Asked(**{**asked, **changed}))  # type: ignore[arg-type]
    monkeypatch.setenv("TEXTLOC_PUBLIC", "1")
    limits.check(Asked(**asked))  # type: ignore[arg-type]
    with pytest.raises(LimitError, match=said):
        limits.check(Asked(**{**asked, **changed}))  # type: ignore[arg-type]


def test_steps_that_are_left_to_the_model_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTLOC_MAX_STEPS", "19")
    with pytest.raises(LimitError, match="20 denoising steps"):
        limits.check(Asked("tiny-sdxl", ("x",), 1, 1, None))


@pytest.mark.parametrize("name", ["/etc", "/nowhere/at/all", "owner/model", "sdxl", "", "../x"])
def test_all_but_listed_models_and_loras_have_one_answer(name: str, public: None) -> None:
    with pytest.raises(CheckpointError) as model:
        fields.check_model(name)
    assert str(model.value).startswith("this page runs tiny-sdxl, tiny-ldm, tiny-sd3, tiny-if only")
    assert fields.check_model("tiny-ldm") == "tiny-ldm"
    assert not fields.can_be_run("owner/model")
    if name:
        with pytest.raises(CheckpointError) as lora:
            finetune.read("tiny-sdxl", name, None, 1.0, 'a "A"', "0", 20, 3.0)
        assert str(lora.value).startswith("this page takes the LoRAs digits-attention")
        assert name not in str(lora.value).split("LoRAs")[1].split(",")


def test_a_public_page_reads_no_file_of_the_server(
    public: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"x")
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "link.png").symlink_to(secret)
    messages = set()
    outside = [secret, tmp_path / "none.png", tmp_path / "uploads" / ".." / "secret.png"]
    for file in [*outside, tmp_path / "uploads" / "link.png", Path("\0"), Path("x" * 5000)]:
        with pytest.raises(PromptError) as error:
            edit.read("tiny-sdxl", SOURCE, "LOVE", str(file), "0", [], "auto", "auto", 20, 3.0)
        messages.add(str(error.value))
        with pytest.raises(PromptError):
            finetune.read("tiny-sdxl", None, str(file), 1.0, 'a "A"', "0", 20, 3.0)
    assert messages == {"the uploaded file is no longer here: upload it again"}
    own = tmp_path / "uploads" / "own.png"
    own.write_bytes(b"x")
    assert limits.check_upload(str(own)) == own
    monkeypatch.setenv("TEXTLOC_MAX_UPLOAD", "1")
    own.write_bytes(bytes(1_000_001))
    with pytest.raises(LimitError, match="larger than 1 MB"):
        limits.check_upload(str(own))


def test_a_text_is_measured_before_it_is_read(public: None) -> None:
    limits.check_texts(["x" * 500, 3, None, ["x" * 9000]])
    with pytest.raises(LimitError, match="900000 characters"):
        limits.check_texts(["a", "x" * 900_000])


def test_on_a_page_for_oneself_anything_may_be_named() -> None:
    assert fields.check_model("owner/model") == "owner/model"
    assert models.check_lora("/some/file.safetensors")
    limits.check_texts(["x" * 10**6])


# ---------------------------------------------------------------------------- the line


class _Run(SimpleNamespace):
    def __init__(self) -> None:
        super().__init__(over=False, began=False)

    def stop(self) -> None:
        self.over = not self.began


def test_one_run_a_visitor_and_so_many_in_all(
    public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTLOC_MAX_WAITING", "2")
    line, runs = Line(), [_Run() for _ in range(4)]
    line.enter(runs[0], Visitor("a"))
    line.enter(runs[0], Visitor("a"))  # keeps its place
    with pytest.raises(LimitError, match="you have 1 run"):
        line.enter(runs[1], Visitor("a", key="another browser"))
    line.enter(runs[1], Visitor("b"))
    with pytest.raises(LimitError, match="2 runs are going on or waiting"):
        line.enter(runs[2], Visitor("c"))
    runs[0].over = True
    line.enter(runs[2], Visitor("c"))
    assert len(line) == 2


def test_a_run_that_never_begins_loses_its_place(
    public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, runs = Line(), [_Run() for _ in range(3)]
    now = [0.0]
    monkeypatch.setattr(limits.time, "monotonic", lambda: now[0])
    line.enter(runs[0], Visitor("a"))
    now[0] = 601
    line.enter(runs[1], Visitor("a", session="one"))
    line.leave("")
    line.leave("another")
    with pytest.raises(LimitError):
        line.enter(runs[2], Visitor("a"))
    line.leave("one")
    line.enter(runs[2], Visitor("a"))
    runs[2].began = True
    now[0] = 9999
    assert len(line) == 1  # one that has begun keeps it


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("9.9.9.9, 8.8.8.8, 10.0.0.1", "8.8.8.8"),
        ("8.8.8.8", "8.8.8.8"),
        ("nonsense, 10.0.0.1", "7.7.7.7"),
        ("", "7.7.7.7"),
        ("2a00:1450:4001:81b::200e", "2a00:1450:4001:81b::/64"),
        ("2a00:1450:4001:81b:1:2:3:4", "2a00:1450:4001:81b::/64"),
    ],
)
def test_a_visitor_is_what_the_proxy_saw(
    said: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"x-forwarded-for": said}
    assert limits.address_of("7.7.7.7", headers) == "7.7.7.7"  # not believed without a proxy
    monkeypatch.setenv("SPACE_ID", "x/y")
    assert limits.address_of("7.7.7.7", headers) == address


def test_errors_are_told_on_the_page() -> None:
    assert issubclass(LimitError, TextlocError)


# ---------------------------------------------------------------------------- the API


ORDERS = {
    "localize": lambda model: orders.localize(SOURCE, "LOVE", model, *[None] * 6),
    "attribute": lambda model: orders.attribute(SOURCE, "LOVE", model, [0, 1], None, None),
    "edit": lambda model: orders.edit(SOURCE, "LOVE", None, model, *[None] * 7),
    "suppress": lambda model: orders.suppress(SOURCE, None, None, model, *[None] * 10),
}


@pytest.mark.parametrize("name", ORDERS)
def test_what_the_api_asks_for_is_measured(name: str) -> None:
    job = live.Job(ORDERS[name]("tiny-sdxl"))
    job.stop()
    asked = job.order.asked
    assert asked.model == "tiny-sdxl"
    assert SOURCE in asked.prompts
    assert asked.seeds == (2 if name == "attribute" else 1)


@pytest.mark.parametrize("name", ORDERS)
def test_the_api_of_a_public_page_gives_one_answer_for_every_model_not_listed(
    name: str, public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert ORDERS[name]("tiny-sdxl").model == "tiny-sdxl"
    told = set()
    for model in ("owner/model", "assets/words", "/etc", "../..", "sdxl", "x" * 300):
        with pytest.raises(CheckpointError) as refused:
            ORDERS[name](model)
        told.add(str(refused.value))
    assert len(told) == 1


# ---------------------------------------------------------------------------- OCR engines


def test_an_engine_that_would_download_is_not_offered_to_strangers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(EasyOCR, "has_weights", classmethod(lambda _: False))
    assert [name for _, name in fields.engines()] == ["auto", "rapidocr", "easyocr"]
    monkeypatch.setenv("TEXTLOC_PUBLIC", "1")
    assert [name for _, name in fields.engines()] == ["auto", "rapidocr"]
    assert fields.check_ocr("") == fields.check_ocr(None) == "auto"
    for wrong in ("easyocr", "tesseract", "../rapidocr", "x" * 10_000):
        with pytest.raises(PromptError, match="choose one of auto, rapidocr"):
            fields.check_ocr(wrong)


def test_a_result_read_by_another_engine_is_another_one() -> None:
    asked = ("tiny-sdxl", 'a red sign that says "STOP"', "LOVE", "0", 20, 3.0, 0, "")
    assert localizations.read(*asked).before() is not None
    assert localizations.read(*asked, "rapidocr").before() is not None  # it is the usual one here
    assert localizations.read(*asked, "easyocr").before() is None
