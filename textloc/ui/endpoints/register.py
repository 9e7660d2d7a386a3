"""Adds the endpoints to the page, each with a check that refuses a bad call before it waits."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio import utils
from gradio.data_classes import FileData
from gradio.exceptions import InvalidPathError
from PIL import Image

from textloc.errors import TextlocError
from textloc.pictures import address
from textloc.ui.endpoints import functions, orders
from textloc.ui.endpoints.plain import without_paths
from textloc.ui.serving import refusals
from textloc.ui.tab import DEVICE, Tab


@dataclass(frozen=True)
class Endpoint:
    """One of them. check: takes what the function takes, and raises what is to be told at once.
    line: those of one line run one at a time, None all at once."""

    name: str
    function: Callable[..., Any]
    check: Callable[..., Any]
    line: str | None = DEVICE


ENDPOINTS = (
    Endpoint("localize", functions.localize, orders.localize),
    Endpoint("attribute", functions.attribute, orders.attribute),
    Endpoint("edit", functions.edit, orders.edit),
    Endpoint("suppress", functions.suppress, orders.suppress),
    Endpoint("read", functions.read, functions.check_read),
    Endpoint("list", functions.list_results, functions.check_list, None),
    Endpoint("get", functions.get, functions.check_get, None),
)

_ANSWER = {"type": "object", "additionalProperties": {}}
_GOOD = {
    "source": 'a red sign that says "STOP"',
    "target": "LOVE",
    "prompt": 'a red sign that says "STOP"',
    "id": "0" * 16,
    "picture": address(Image.new("RGB", (8, 8))),
}
"""Values of what has none usually, to find out which of several is refused."""


class Page(gr.Blocks):  # type: ignore[misc]
    """Blocks that refuse what no front end sends in words, and without a path of the server.

    jobs: the tabs that make results, in their order.
    """

    jobs: Sequence[Tab] = ()

    async def process_api(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Blame what is refused in words on what was sent. A click that says nothing of what was
        clicked is one on nothing."""
        event = options.get("event_data")
        if event is not None and not isinstance(event._data, dict):
            event._data = {}
        try:
            answer: dict[str, Any] = await super().process_api(*args, **options)
            return answer
        except gr.Error as error:
            refusals.blame(error)
            raise

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], *args: Any, **options: Any
    ) -> list[Any]:
        """Refuse too few values, and the path of a file that was not uploaded."""
        wanted = len(block_fn.inputs)
        try:
            if len(inputs) < wanted:
                raise gr.Error(
                    f"the call has {len(inputs)} of {wanted} values; give null for what is usual",
                    print_exception=False,
                )
            found: list[Any] = await super().preprocess_data(block_fn, inputs, *args, **options)
        except Exception as error:
            if block_fn.is_validator_function:
                return inputs  # what is wrong with them is for the validator to say
            refusals.blame(error)
            if isinstance(error, InvalidPathError):
                raise gr.Error(
                    "a file was named that was not uploaded; upload it first", print_exception=False
                ) from error
            raise
        return found


def add(page: gr.Blocks) -> None:
    """Add the endpoints to the page that is open."""
    for endpoint in ENDPOINTS:
        before = set(page.fns)
        gr.api(
            endpoint.function,
            api_name=endpoint.name,
            concurrency_id=endpoint.line,
            concurrency_limit=None if endpoint.line is None else 1,
        )
        (number,) = set(page.fns) - before
        made = page.fns[number]
        names = [name for name, *_ in utils.get_function_params(endpoint.function)]
        made.validator = _validator(endpoint, names)
        for name, component in zip(names, made.inputs, strict=True):
            component.label = name
            if name == "picture":
                component._api_info = FileData.model_json_schema()
        for component in made.outputs:
            component.label = "answer"
            many = endpoint.name == "list"
            component._api_info = {"type": "array", "items": _ANSWER} if many else _ANSWER


def _validator(endpoint: Endpoint, names: list[str]) -> Callable[..., Any]:
    """The check of an endpoint as Gradio asks for one: a verdict on each value."""
    signature = inspect.signature(endpoint.function)
    usual = {name: signature.parameters[name].default for name in names}
    good = {name: _GOOD.get(name, value) for name, value in usual.items()}

    def verdicts(*values: Any) -> Any:
        given = dict.fromkeys(names) | dict(zip(names, values, strict=False))
        told = _refused(endpoint, given)
        blamed = _blamed(endpoint, given, good, told) if told else ""
        told_of = [gr.validate(name != blamed, told if name == blamed else "") for name in names]
        return told_of if len(names) > 1 else told_of[0]  # as a function of one output returns it

    return verdicts


def _refused(endpoint: Endpoint, given: dict[str, Any]) -> str:
    """Why the check refuses these values; empty where it does not."""
    try:
        endpoint.check(**given)
    except TextlocError as error:
        return without_paths(str(error))
    return ""


def _blamed(endpoint: Endpoint, given: dict[str, Any], good: dict[str, Any], told: str) -> str:
    """The parameter with which the refusal goes, where good values take their places in turn."""
    now = dict(given)
    for name in sorted(now, key=lambda name: name != "picture"):  # read once more at most
        now[name] = good[name]
        if _refused(endpoint, now) != told:
            return name
    return next(iter(given))
