"""Notices, and how a run stands, as HTML."""

from html import escape

from textloc.ui import limits
from textloc.ui.html import sentence
from textloc.ui.live import Update

FIRST = "the first run tells how long it takes"
STORED = "this was run before: opens at once"


def notice(text: str) -> str:
    """A message that a screen reader tells at once; `""` takes it away."""
    if not text:
        return ""
    return f'<div class="tl-notice" role="alert">{sentence(text)}</div>'


def running(update: Update, run: tuple[str, str] = ("", "")) -> str:
    """Bar and words for a run that is going on; `run` is token and key by which it is found again.
    While it has nothing to show it is `data-bare`: what is shown is an earlier result."""
    if update.state == "waiting":
        text = "waiting for the device"
        if update.before:
            text += f" · {limits.runs(update.before)} first"
    elif update.state == "loading":
        text = f"{update.message} · {update.seconds:.0f} s"
    else:
        parts = []
        if update.total:  # which may grow: a search finds out on its way what it has to draw
            more = update.done < update.total
            parts = [f"{update.done} of {update.total} images" if more else _images(update.done)]
        parts.append(update.message)
        if update.step:
            parts.append(f"step {update.step} of {update.steps}")
        if update.left is not None:
            parts.append(f"{_about(update.left)} left")
        text = " · ".join(parts)
    bar = '<div class="tl-bar"></div>'  # empty: how much there is to do is not known yet
    if update.done < update.total:
        bar = (
            '<div class="tl-bar" role="progressbar" aria-label="Images" aria-valuemin="0" '
            f'aria-valuemax="{update.total}" aria-valuenow="{update.done}">'
            f'<div style="width:{update.done / update.total:.0%}"></div></div>'
        )
    bare = " data-bare" if update.document is None else ""
    said = f'<p role="status">{escape(text)}</p>'
    return f'<div class="tl-progress"{_run(run)}{bare}>{bar}{said}</div>'


def _run(run: tuple[str, str]) -> str:
    token, key = map(escape, run)
    return f' data-run="{token}" data-key="{key}"' if token else ""


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _about(seconds: float) -> str:
    """`about 40 s`: no more exact than it can be."""
    if seconds < 90:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    return f"about {round(seconds / 60)} min"


def likely(seconds: float | None, before: int, wait: float | None) -> str:
    """How long a run is likely to take, for a line of its own.

    seconds: of the run itself. before: runs that it would wait for, for `wait` seconds together;
    None where that is not known.
    """
    if not before:
        return estimate(FIRST if seconds is None else f"{_about(seconds)} on this machine")
    first = f"{limits.runs(before)} first"
    if seconds is None:
        return estimate(f"{first} · time not known yet")
    if wait is None:
        return estimate(f"{first} · then {_about(seconds)}")
    return estimate(f"{_about(seconds + wait)} in all · {first}")


def estimate(text: str) -> str:
    """The line of that, whatever it says: also an empty one has its place."""
    return f'<p class="tl-hint tl-estimate">{sentence(text)}</p>'


def found() -> str:
    """Words for a run that was made before, whose stored result is opened."""
    return (
        '<div class="tl-progress"><p role="status">This was run before; its stored result is '
        "shown. Another seed makes new pictures.</p></div>"
    )


def ended(update: Update, headline: str, run: tuple[str, str] = ("", "")) -> str:
    """Words for a run that is complete, stopped or failed; `headline` is the ID of what it says,
    `run` token and key by which what was finished is found again."""
    made = f"{update.done} of {update.total} images"
    if update.done == update.total:
        made = _images(update.done) if update.done else "no image was made"
    text = {
        "complete": f"Done: {_images(update.done)} in {update.seconds:.0f} s",
        "stopped": f"Stopped: {made}; what is finished stays",
    }.get(update.state, f"Not finished: {made}")
    link = f' · <a href="#{headline}">see it</a>' if update.document is not None else ""
    said = f'<p role="status">{escape(text)}{link}</p>'
    return f'<div class="tl-progress"{_run(run)}>{said}</div>'
