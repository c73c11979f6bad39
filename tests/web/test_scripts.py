"""The page's scripts pass Deno's linter and TypeScript's checks, joined as the page sends them."""

import json
import re
import subprocess
from html.parser import HTMLParser

import deno
import pytest

from t2i.web.component import COMPACT, JS_LITERAL, SHARED_SCRIPTS, STATIC

MODULE_END = "\nexport {};\n"  # gives each script its own scope, as in the page
# What Gradio and the page's head provide.
GLOBALS = """
declare const t2i: any;
declare const element: HTMLElement;
declare const props: any;
declare const server: any;
declare const trigger: (event: string, data: unknown) => void;
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scripts")
    sources = {path.name: path.read_text("utf-8") for path in STATIC.glob("*.js")}
    shared = "\n".join(sources.pop(name) for name in SHARED_SCRIPTS)
    for name, source in (sources | {"shared.js": shared}).items():
        (folder / name).write_text(source + MODULE_END, "utf-8")
    (folder / "globals.d.ts").write_text(GLOBALS, "utf-8")
    options = {"checkJs": True, "strict": False, "lib": ["dom", "dom.iterable", "esnext"]}
    (folder / "deno.json").write_text(json.dumps({"compilerOptions": options}), "utf-8")
    return folder


@pytest.mark.parametrize("command, pattern", [("lint", "*.js"), ("check", "*.[jt]s")])
def test_deno_finds_nothing_wrong(scripts, command, pattern):
    names = sorted(path.name for path in scripts.glob(pattern))
    result = subprocess.run(
        [deno.find_deno_bin(), command, *names],
        cwd=scripts,
        env={"DENO_DIR": str(scripts / "cache"), "NO_COLOR": "1", "DENO_NO_UPDATE_CHECK": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_what_is_sent_of_a_script_parses_and_keeps_its_literals(path, tmp_path):
    source = path.read_text("utf-8")
    sent = COMPACT["js"](source)
    assert len(sent) < len(source)
    without_comments = "\n".join(re.sub(r"(^|\s)// .*", "", line) for line in source.splitlines())
    texts = [[literal.strip("'\"") for literal in JS_LITERAL.findall(text)] for text in (sent, without_comments)]
    assert texts[0] == texts[1]
    format_it = [deno.find_deno_bin(), "fmt", "--ext", "js", "-"]
    parsed = subprocess.run(format_it, input=sent, env={"DENO_DIR": str(tmp_path)}, capture_output=True, text=True)
    assert parsed.returncode == 0, parsed.stderr


def test_a_script_is_sent_without_spaces_but_those_in_literals():
    source = 'const a = (b) => `x = ${b} ( y`; // why\nc = b - -1 / 2;\nconst d = /^(a|b) (c )?[/ =]$/, e = "f : g";\n'
    sent = "const a=(b)=>`x = ${b} ( y`;c=b - -1 / 2;const d=/^(a|b) (c )?[/ =]$/,e='f : g';"
    assert COMPACT["js"](source) == sent


class Panel(HTMLParser):
    """The tags of a panel with their attributes, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, [(name, (value or "").split()) for name, value in attributes]))

    def handle_endtag(self, tag):
        self.tags.append(tag)

    def handle_data(self, data):
        self.words += data.split()


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.html")), ids=lambda path: path.name)
def test_what_is_sent_of_a_panel_means_the_same_with_fewer_quotation_marks(path):
    source = path.read_text("utf-8")
    sent = COMPACT["html"](source)
    was, now = Panel(source), Panel(sent)
    assert now.tags == was.tags and now.words == was.words and '"' not in sent
