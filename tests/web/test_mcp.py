"""The page's verbs as tools for a language model: an MCP client of its own makers asks `python app.py`."""

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
    """Ask the server with a method of MCP's client."""

    async def asked(url: str, method: str, *arguments):
        async with streamable_http_client(f"{url}/gradio_api/mcp/") as (read, write, _):
            async with ClientSession(read, write) as session:
                await session.initialize()
                return await getattr(session, method)(*arguments)

    with served({"flowers": model, **compared}, free_port(), GRADIO_MCP_SERVER="True") as url:
        yield lambda method, *arguments: asyncio.run(asked(url, method, *arguments))


@pytest.fixture(scope="module")
def tools(ask) -> dict[str, types.Tool]:
    return {tool.name: tool for tool in ask("list_tools").tools}


@pytest.fixture(scope="module")
def answer(ask):
    """What a tool answers that was not called wrongly."""

    def answer(tool: str, **arguments) -> dict:
        answered = ask("call_tool", tool, arguments)
        assert not answered.isError, answered.content
        return ast.literal_eval(answered.content[0].text)  # Gradio writes a dict as Python does

    return answer


@pytest.fixture(scope="module")
def calls(answer) -> dict[str, dict]:
    """Arguments for each tool, the photo one that it drew."""
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


def test_the_verbs_are_all_the_tools_there_are_and_nothing_is_cut_from_their_description(tools, calls):
    assert tools.keys() == calls.keys()
    for tool in tools.values():
        told = tool.inputSchema["properties"]
        assert calls[tool.name].keys() <= told.keys()
        assert all(one["description"].endswith(".") for one in told.values())  # Gradio reads one line of each


@pytest.mark.parametrize("tool", ["draw", "blend", "restyle", "compare", "search", "describe"])
def test_a_tool_answers_what_it_promises(tools, calls, answer, tool):
    promised = tools[tool].description.split(" Returns: ")[1]
    answered = answer(tool, **calls[tool])
    assert answered.keys() == {one.split(": ")[0] for one in promised.split(", ") if ": " in one} - {"error"}


def test_pictures_are_those_of_the_studio(calls, answer, model):
    pictures = [decode(uri) for uri in answer("draw", **calls["draw"])["pictures"]]
    drawn = t2i.load(str(model)).draw("a red flower", [7, 8])
    assert np.abs(np.stack(drawn).astype(int) - np.stack(pictures)).max() <= 1  # as rounding falls


def test_a_style_is_carried_from_one_tool_to_another(calls, answer):
    like = answer("restyle", **calls["restyle"])["like"]
    plain, styled = (answer("draw", **calls["draw"], **more)["pictures"] for more in ({}, {"like": like}))
    assert plain != styled


def test_what_makes_no_sense_is_answered_in_words(ask, answer):
    assert "seeds" in answer("draw", caption="a red flower", seeds=[])["error"].lower()
    assert answer("describe", photo="/etc/passwd")["error"]
    assert ask("call_tool", "draw", {"caption": 5}).isError
    assert ask("call_tool", "png", {}).isError  # the page's own
