"""The API events as MCP tools, called by the official client."""

import ast
import asyncio

import numpy as np
import pytest
from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client

import t2i
from tests.screen import decode, free_port, served


@pytest.fixture(scope="module")
def ask(model, compared):
    """Call a method of the MCP client."""

    async def call_method(url: str, method: str, *arguments):
        async with streamable_http_client(f"{url}/gradio_api/mcp/") as (read, write, _):
            async with ClientSession(read, write) as session:
                await session.initialize()
                return await getattr(session, method)(*arguments)

    with served({"flowers": model, **compared}, free_port(), GRADIO_MCP_SERVER="True") as url:
        yield lambda method, *arguments: asyncio.run(call_method(url, method, *arguments))


@pytest.fixture(scope="module")
def tools(ask) -> dict[str, types.Tool]:
    return {tool.name: tool for tool in ask("list_tools").tools}


@pytest.fixture(scope="module")
def answer(ask):
    """The result of a tool; the call must succeed."""

    def answer(tool: str, **arguments) -> dict:
        answer_fields = ask("call_tool", tool, arguments)
        assert not answer_fields.isError, answer_fields.content
        return ast.literal_eval(answer_fields.content[0].text)  # Gradio sends the repr of a dict

    return answer


@pytest.fixture(scope="module")
def calls(answer) -> dict[str, dict]:
    """Arguments for each tool; the photo is one of its drawings."""
    photo = answer("draw", caption="a pink flower", seeds=[7])["pictures"][0]
    captions = ["a red flower", "a blue flower"]
    return {
        "draw": {"caption": captions[0], "seeds": [7, 8]},
        "blend": {"captions": captions, "at": [[0, 0], [0.5, 0]], "seed": 7},
        "restyle": {"photo": photo, "captions": captions},
        "compare": {"caption": captions[0], "seeds": [7]},
        "search": {"caption": captions[0], "photos": [photo, photo]},
        "describe": {"photo": photo, "captions": captions},
    }


def test_the_tools_are_the_api_events_and_every_argument_is_described(tools, calls):
    assert tools.keys() == calls.keys()
    for tool in tools.values():
        properties = tool.inputSchema["properties"]
        assert calls[tool.name].keys() <= properties.keys()
        assert all(field["description"].endswith(".") for field in properties.values())  # Gradio reads one line of each


@pytest.mark.parametrize("tool", ["draw", "blend", "restyle", "compare", "search", "describe"])
def test_a_tool_returns_the_fields_of_its_description(tools, calls, answer, tool):
    promised = tools[tool].description.split(" Returns: ")[1]
    answer_fields = answer(tool, **calls[tool])
    assert answer_fields.keys() == {line.split(": ")[0] for line in promised.split(", ") if ": " in line} - {"error"}


def test_the_tool_draw_returns_the_studios_pictures(calls, answer, model):
    pictures = [decode(uri) for uri in answer("draw", **calls["draw"])["pictures"]]
    drawn = t2i.load(str(model)).draw("a red flower", [7, 8])
    assert np.abs(np.stack(drawn).astype(int) - np.stack(pictures)).max() <= 1  # rounding


def test_a_style_is_carried_from_one_tool_to_another(calls, answer):
    like = answer("restyle", **calls["restyle"])["like"]
    plain, styled = (answer("draw", **calls["draw"], **more)["pictures"] for more in ({}, {"like": like}))
    assert plain != styled


def test_invalid_calls_are_refused_with_a_reason(ask, answer):
    assert "seeds" in answer("draw", caption="a red flower", seeds=[])["error"].lower()
    assert answer("describe", photo="/etc/passwd")["error"]
    assert ask("call_tool", "draw", {"caption": 5}).isError
    assert ask("call_tool", "png", {}).isError  # only the page may call it
