"""What the form of the suppress tab asks for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textloc import toxicity
from textloc.errors import PromptError
from textloc.layers import parse_layers
from textloc.toxicity import rewrite
from textloc.ui.fields import MOST_LAYERS, check_call, check_model, check_ocr, check_seeds
from textloc.ui.limits import Asked

if TYPE_CHECKING:
    from textloc.jobs.job import Event

METHODS = (
    ("Negative prompt", "negative-prompt"),
    ("Safe Latent Diffusion", "safe-latent-diffusion"),
    ("Prompt swap", "prompt-swap"),
)
"""(title, name) of the methods that can be compared with: `baselines.SUPPRESSING`, which imports
torch."""
STRICTNESS = (
    ("every listed word", "strict"),
    ("not in harmless company", "usual"),
    ("slurs only", "slurs"),
)
"""(title, name) of what counts as toxic: `toxicity.STRICTNESS`."""
FALLBACKS = (
    ("withhold the picture", "refuse"),
    ("patch all layers, then swap the prompt", "more-layers"),
    ("swap the prompt", "prompt-swap"),
)


@dataclass(frozen=True)
class SuppressOrder:
    """A prompt to generate without its toxic words. replacement: None leaves it to the rule.
    words: more words to keep out. fallback: None reads nothing. languages: None reads English and
    those of the prompt's script. ocr: engine, or `auto`."""

    model: str
    prompt: str
    replacement: str | None
    words: tuple[str, ...]
    methods: tuple[str, ...]
    fallback: str | None
    seeds: tuple[int, ...]
    layers: str
    steps: int | None
    guidance: float | None
    strictness: str = "usual"
    languages: tuple[str, ...] | None = None
    ocr: str = "auto"
    stored: ClassVar[bool] = False

    @property
    def asked(self) -> Asked:
        """What it takes of the page, as `live.Order` says."""
        toxic = toxicity.find_in_prompt(self.prompt, **self._detect)
        pictures = 3 + 2 * len(self.methods) if toxic else 2  # a clean prompt is drawn as it is
        return Asked(self.model, (self.prompt,), 1, len(self.seeds), self.steps, pictures=pictures)

    @property
    def _detect(self) -> dict[str, Any]:
        """Options of `toxicity.find`."""
        names = ("words", "strictness", "languages")
        return {name: getattr(self, name) for name in names}

    def before(self) -> None:
        """Nothing of it is stored."""

    def stream(
        self,
        model: Any,
        on_step: Callable[[int, int], None],
        on_images: Callable[[int, int, str], None],
        cancelled: Callable[[], bool],
    ) -> "Iterator[Event]":
        """Make it, as `live.Order` says."""
        from textloc.jobs.choosing import choose
        from textloc.jobs.suppress import suppress_stream

        layers, origin = choose(model, self.layers, [], self.ocr)
        options: dict[str, Any] = {"fallback": self.fallback} if self.fallback else {}
        given = {}
        if self.replacement:
            found = toxicity.find_in_prompt(self.prompt, **self._detect)
            given = {finding.text: self.replacement for finding in found}
        return suppress_stream(
            model,
            [self.prompt],
            layers,
            layers_from=origin,
            replacements=given,
            seeds=self.seeds,
            check=self.fallback is not None,
            unguarded=True,
            methods=self.methods,
            steps=self.steps,
            guidance=self.guidance,
            ocr=self.ocr,
            on_step=on_step,
            cancelled=cancelled,
            **self._detect,
            **options,
        )


def read(
    model: str | None,
    prompt: str | None,
    replacement: str | None,
    words: str | None,
    methods: list[str] | None,
    check: bool,
    fallback: str | None,
    seeds: str | None,
    layers: str | None,
    steps: float | None,
    guidance: float | None,
    strictness: str | None = None,
    languages: Sequence[str] | None = None,
    ocr: str | None = None,
) -> SuppressOrder:
    """The order that the fields of the form make; strictness None is `usual`, no languages are
    English and those of the prompt's script.

    Raises:
        PromptError, LayerError, CheckpointError, ToxicityError: a field cannot be right, whatever
        the model.
    """
    text = (prompt or "").strip()
    if not text:
        raise PromptError('the prompt is empty; write one such as: a red sign that says "LOSER"')
    name, numbers = check_model(model), check_seeds(seeds)
    whole, scale = check_call(steps, guidance)
    more = listed(words)
    strict, lists = strictness or "usual", tuple(languages or ()) or None
    detect: dict[str, Any] = {"words": more, "strictness": strict, "languages": lists}
    toxicity.find("", **detect)  # refuses a strictness or a language that is not there
    new = (replacement or "").strip() or None
    if new:
        rewrite.benign("x", replacements={"x": new}, **detect)  # refuses what is toxic itself
    asked = (layers or "").strip() or "auto"
    if asked not in ("auto", "localized", "all"):
        parse_layers(asked, MOST_LAYERS)
    fall = fallback if check else None
    return SuppressOrder(
        *(name, text, new, more, tuple(methods or ()), fall, numbers, asked, whole, scale),
        strictness=strict,
        languages=lists,
        ocr=check_ocr(ocr),
    )


def listed(words: str | None) -> tuple[str, ...]:
    """Words of a field, separated by commas or lines."""
    return tuple(
        word.strip() for word in (words or "").replace(",", "\n").split("\n") if word.strip()
    )
