"""What every job gives: a document, the pictures that it names, and ways to look at both."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from textloc.errors import StoreError
from textloc.files import replace_file, write_new
from textloc.pictures import address, png
from textloc.results import export, places, sentences, store
from textloc.results.inlined import SMALL

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

PAGE = "http://127.0.0.1:7860/"
"""Where `python app.py` serves the page."""
_SHOWN = 8  # pictures in a notebook


@dataclass(frozen=True, repr=False)
class Result:
    """What a job found.

    document: plain data as it is stored, of the schema that its `schema` names; `complete` tells
    whether the job is at its end. images: RGB pictures by the keys that the document names.
    """

    document: dict[str, Any]
    images: Mapping[str, Image.Image] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The hash of what was asked: 16 hex characters, the same for the same question."""
        return str(self.document["id"])

    @property
    def kind(self) -> str:
        """What it is a result of, such as `textloc.localize`."""
        return store.kind(self.document)

    @property
    def link(self) -> str | None:
        """Address of the result in the page that `python app.py` serves; None for kinds that are
        not stored. It opens once the result is saved."""
        return export.permalink(PAGE, self.id) if self.kind in store.SCHEMAS else None

    def figure(
        self, name: str | None = None, theme: Literal["light", "dark"] = "light"
    ) -> go.Figure:
        """The result as a Plotly figure.

        Args:
            name: one of `figures`; None takes the first, which says most.
            theme: colours for a light or dark page.

        Raises:
            StoreError: there is no such figure of this kind of result.
        """
        from textloc.results.plots import FIGURES

        known = FIGURES.get(self.kind, {})
        if not known:
            raise StoreError(f"there is no figure of {self.kind}; to_pandas() gives its table")
        if (chosen := name or next(iter(known))) not in known:
            raise StoreError(f"there is no figure {chosen!r} of it; there are {', '.join(known)}")
        if known[chosen].pictures:
            return known[chosen].draw(self.document, theme, self.images)
        return known[chosen].draw(self.document, theme)

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures of this kind of result."""
        from textloc.results.plots import FIGURES

        return tuple(FIGURES.get(self.kind, ()))

    def to_pandas(self) -> pd.DataFrame:
        """The result as a table (`results.export.to_table`): one row a layer of a localization, one
        row a picture of an edit or suppression, one row a choice of a comparison of trainings."""
        import pandas as pd

        return pd.DataFrame(export.to_table(self.document))

    def save(self, folder: str | Path | None = None) -> Path:
        """Keep the result.

        Args:
            folder: a new folder for `result.json` and `images/`; None keeps it among the stored
                results (`results.store.roots`), where the page and `textloc show` find it.

        Returns:
            The folder.

        Raises:
            StoreError: a partial result, a kind that is not stored (give a folder), or a disk that
                cannot be written.
        """
        if folder is None:
            if self.kind not in store.SCHEMAS:
                raise StoreError(
                    f"results of the kind {self.kind} are not kept among the stored ones; give a "
                    'folder: save("folder")'
                )
            saved = store.save(self.document, self.images)
            if told := places.send():
                warnings.warn(told, stacklevel=2)
            return saved
        if not str(folder).strip():
            raise StoreError('the folder has no name; give one: save("folder")')
        place = Path(folder).expanduser()
        if self.kind in store.SCHEMAS:
            return self._save_verified(place)
        try:
            (place / "images").mkdir(parents=True)
            for key, picture in self.images.items():
                write_new(place / "images" / f"{store.check_image_key(key)}.png", png(picture))
            text = json.dumps(self.document, indent=1, ensure_ascii=False, allow_nan=False)
            write_new(place / "result.json", f"{text}\n".encode())
        except OSError as error:
            raise _unwritable(place, error) from error
        return place

    def _save_verified(self, place: Path) -> Path:
        """As stored results are, with a digest, so that `load` can check it."""
        parent = place.resolve().parent
        try:
            if place.exists():
                raise FileExistsError(17, "it is there already")
            parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=parent, prefix=".textloc-") as new:
                store.save(self.document, self.images, Path(new)).rename(place)
        except OSError as error:
            raise _unwritable(place, error) from error
        return place

    def save_html(self, path: str | Path, link: str | None = None) -> Path:
        """Write the result as one HTML file that opens in a browser without a server or network and
        keeps the clicks: pictures, what was read in them, figures, tables, and how it was made.

        Args:
            path: of the file; one that is there is replaced.
            link: address of the result in a page that is open to whom the file is for; None takes
                `link`.

        Returns:
            The path.

        Raises:
            StoreError: it cannot be written there.
        """
        from textloc.results import report

        place = Path(path).expanduser()
        if not str(path).strip() or place.is_dir():
            raise StoreError('name the HTML file to write, such as save_html("result.html")')
        content = report.to_html(self.document, self.images, link or self.link)
        try:
            replace_file(place, lambda file: file.write_bytes(content))
        except OSError as error:
            raise StoreError(
                f"Could not write {path}: {error.strerror or error}. Choose a folder that can be "
                "written."
            ) from error
        return place

    def __repr__(self) -> str:
        """What it is of and what was found, in one line."""
        return f"<{self.kind} {self.document.get('id', '')}: {sentences.headline(self.document)}>"

    def _repr_html_(self) -> str:
        """The result in a notebook: what was found, and its first pictures with what is read."""
        lines = [f"<p><b>{escape(sentences.headline(self.document))}</b></p>"]
        if not self.images:
            return lines[0] + str(self.to_pandas().to_html(index=False, max_rows=40))
        reads = {read["image"]: read for read in _reads(self.document)}
        for key in list(self.images)[:_SHOWN]:
            said = escape(str(reads.get(key, {}).get("text", "")))
            grown = ";image-rendering:pixelated" if max(self.images[key].size) <= SMALL else ""
            lines.append(
                '<figure style="display:inline-block;margin:4px;text-align:center">'
                f'<img src="{address(self.images[key])}" alt="{said or escape(key)}" '
                f'style="height:128px{grown}">'
                f"<figcaption><code>{escape(key)}</code><br>{said or '&nbsp;'}</figcaption>"
                "</figure>"
            )
        if (left := len(self.images) - _SHOWN) > 0:
            lines.append(f"<p>and {left} more pictures in <code>.images</code></p>")
        return "".join(lines)


def _unwritable(place: Path, error: OSError) -> StoreError:
    return StoreError(
        f"Could not write the result to {place}: {error.strerror or error}. Give a new folder in a "
        "place that can be written."
    )


def _reads(value: Any) -> list[dict[str, Any]]:
    """What was read in each picture that a document names, wherever it says so."""
    if isinstance(value, Mapping):
        own: list[dict[str, Any]] = []
        if isinstance(value.get("image"), str):
            text = value.get("text") or value.get("read_edit") or value.get("read")
            own = [{"image": value["image"], "text": text if isinstance(text, str) else ""}]
        return own + [found for item in value.values() for found in _reads(item)]
    if isinstance(value, list):
        return [found for item in value for found in _reads(item)]
    return []
