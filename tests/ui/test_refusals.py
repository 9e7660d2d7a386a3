"""What Gradio cannot read is refused; what fails after an answer began is not hidden."""

from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from textloc.ui.serving import refusals
from textloc.ui.serving.refusals import Refusals


async def _raises(_request: Request) -> PlainTextResponse:
    raise KeyError("/secret/place")


async def _blames(_request: Request) -> JSONResponse:
    refusals.blame(ValueError("no page sends that"))
    return JSONResponse({"error": None}, status_code=500)


async def _fails(_request: Request) -> JSONResponse:
    return JSONResponse({"error": None}, status_code=500)


async def _breaks(_request: Request) -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        raise OSError("the disk is gone")

    return StreamingResponse(parts())


async def _good(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("good")


@pytest.fixture
def client() -> TestClient:
    routes = {"raises": _raises, "blames": _blames, "fails": _fails, "breaks": _breaks}
    made = [Route(f"/{name}", answer) for name, answer in routes.items()]
    made.append(Route("/{path:path}", _good))
    return TestClient(Starlette(routes=made, middleware=[Middleware(Refusals)]))


def test_what_makes_a_route_raise_is_refused_without_the_reason(client: TestClient) -> None:
    answer = client.get("/raises")
    assert answer.status_code == 400
    assert answer.text == "This page cannot answer that request.\n"


def test_values_that_are_to_blame_are_no_fault_of_the_server(client: TestClient) -> None:
    assert client.get("/blames").status_code == 400
    assert client.get("/blames").json() == {"error": None}
    assert client.get("/fails").status_code == 500  # not blamed: a fault stays one


def test_an_answer_that_breaks_off_is_not_hidden(client: TestClient) -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        client.get("/breaks")


def test_a_zero_byte_names_no_page(client: TestClient) -> None:
    assert client.get("/static/a%00b").status_code == 404
    assert client.get("/static/a%20b").text == "good"


def test_blame_outside_of_a_request_is_nothing() -> None:
    refusals.blame(ValueError("a test"))
