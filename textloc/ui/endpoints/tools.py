"""The endpoints as tools of an MCP server, which the page serves at `gradio_api/mcp/`.

Gradio's own server gives a result as Python prints it; this one gives it as JSON, with its pictures
as pictures. The `mcp` package is optional: without it the page is as it is.
"""

import base64
import importlib.util
import json
import logging
import os
from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.mcp import GradioMCPServer

from textloc.errors import StoreError
from textloc.results import export, store
from textloc.ui.serving import made

MOST_PICTURES = 8
"""Pictures in the answer of a tool."""
_LOG = logging.getLogger(__name__)


def serving(page: gr.Blocks, wanted: bool | None) -> dict[str, Any]:
    """Make the page serve the tools; what its application needs for it.

    wanted: None serves them where the `mcp` package is installed, unless the environment says
    `GRADIO_MCP_SERVER=false`.

    Raises:
        ImportError: they are wanted, and the package is not installed.
    """
    if wanted is None:
        off = os.environ.get("GRADIO_MCP_SERVER", "").lower() == "false"
        wanted = None if not off and importlib.util.find_spec("mcp") else False
    if wanted is False:
        return {}
    try:
        page.mcp_server_obj = Tools(page)
    except Exception as error:
        if wanted:
            raise
        _LOG.warning("there are no MCP tools: %s", error)  # a version that Gradio does not know
        return {}
    page.mcp_server = True
    return {"lifespan": page.mcp_server_obj.lifespan}


class Tools(GradioMCPServer):  # type: ignore[misc]
    """Gradio's MCP server, with answers for those who read JSON and look at pictures."""

    def get_tool_to_endpoint(self) -> dict[str, str]:
        """Tools are called as the endpoints are."""
        endpoints = self.api_info["named_endpoints"]
        return {f"{self.tool_prefix}{endpoint.lstrip('/')}": endpoint for endpoint in endpoints}

    def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
        """What a tool says of an endpoint's answer: what was found, pictures, and the document."""
        page = f"{root_url.rstrip('/')}/"
        return [part for answer in data for part in self._parts(answer, page)]

    def _parts(self, answer: Any, page: str) -> list[Any]:
        if isinstance(answer, list):
            return [self._text([_linked(one, page) for one in answer])]
        if not isinstance(answer, Mapping) or "document" not in answer:
            return [self._text(answer)]
        said = _linked(answer, page)
        document, pictures = said.pop("document"), said.pop("pictures") or {}
        shown = list(pictures)[:MOST_PICTURES]
        said["pictures"] = shown
        found = [_picture(str(answer["id"]), key) for key in shown]
        images = [
            self.types.ImageContent(type="image", data=data, mimeType="image/png")
            for data in found
            if data
        ]
        return [self._text(said), *images, self._text(document)]

    def _text(self, value: Any) -> Any:
        return self.types.TextContent(type="text", text=json.dumps(value, ensure_ascii=False))


def _linked(answer: Mapping[str, Any], page: str) -> dict[str, Any]:
    """An answer whose link is that of the page as the client of the tools sees it."""
    link = export.permalink(page, answer["id"]) if answer.get("link") else ""
    return {**answer, "link": link}


def _picture(result_id: str, key: str) -> str:
    """A picture in base64; empty where it is no longer there."""
    try:
        data = made.find(result_id, key) or store.load(result_id).image_path(key).read_bytes()
    except (StoreError, OSError):
        return ""
    return base64.b64encode(data).decode()
