"""What the tests share: tiny models, the page that shows them, and a browser."""

import copy
import json
import time
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from hypothesis import HealthCheck, settings
from torch import nn

from t2i import registry, store
from t2i.models import (
    DCGANGenerator,
    DCGANGeneratorConfig,
    Discriminator,
    DiscriminatorConfig,
    ImageEncoder,
    ImageEncoderConfig,
    StyleEncoder,
    StyleEncoderConfig,
    TextEncoder,
    TextEncoderConfig,
    encode,
)
from t2i.registry import OBJECTIVES
from tests.generators import tiny_cbn
from tests.hub import serve
from tests.screen import SAVE_DATA, chromium, forget, free_port, save, served, settle
from tests.weights import unnamed_comparisons, weights_folder

unhurried = {"deadline": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("quick", max_examples=50, derandomize=True, database=None, **unhurried)
settings.register_profile("long", max_examples=2000, **unhurried)
settings.load_profile("quick")

DESKTOP = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}


@pytest.fixture(autouse=True)
def same_threads():
    """Gives torch its threads back after a program has set their number: on busy cores, more are far slower."""
    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_networks() -> dict[str, nn.Module]:
    """Networks of width 8 with random weights and random batch norm statistics, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = {
            "text_encoder": TextEncoder(TextEncoderConfig(widths=(16, 16, 16), hidden=16)),
            "generator": DCGANGenerator(DCGANGeneratorConfig(width=8)),
            "discriminator": Discriminator(DiscriminatorConfig(width=8)),
            "style_encoder": StyleEncoder(StyleEncoderConfig(width=8)),
            "image_encoder": ImageEncoder(ImageEncoderConfig(width=8)),
        }
        for network in (networks["text_encoder"], networks["generator"].project):
            for weight in network.parameters():
                weight.data *= 4  # so that the picture depends on the words
        calibrate = networks["image_encoder"].calibrate  # so that the match depends on the seed
        calibrate.weight.data.fill_(1000)
        calibrate.bias.data.fill_(18)
        for network in networks.values():
            for layer in network.eval().modules():
                if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                    for values, low, high in (
                        (layer.running_mean, -0.3, 0.3),
                        (layer.running_var, 0.1, 0.3),
                        (layer.weight, 0.7, 1.4),
                        (layer.bias, -0.3, 0.3),
                    ):
                        nn.init.uniform_(values, low, high)
    return networks


@pytest.fixture
def tiny_model(tiny_networks, tmp_path) -> Path:
    """A checkpoint folder with the tiny networks, a fresh one for each test."""
    folder = tmp_path / "tiny"
    store.save(folder, tiny_networks, {name: asdict(n.config) for name, n in tiny_networks.items()})
    return folder


@pytest.fixture(scope="session")
def model(tiny_networks, tmp_path_factory) -> Path:
    """A checkpoint folder with the tiny networks and a mean caption, for tests that leave it as it is."""
    captions = encode(["a red flower", "a blue bird", "an oak"])
    with torch.inference_mode():
        mean = store.vector_to_text(tiny_networks["text_encoder"](captions).mean(0))
    return save(tiny_networks, tmp_path_factory.mktemp("models") / "tiny", caption_mean=mean)


@pytest.fixture(scope="session")
def networks_128(tiny_networks) -> dict[str, nn.Module]:
    """The same with a generator of the second type, which draws 128×128."""
    return tiny_networks | {"generator": tiny_cbn(128)}


@pytest.fixture(scope="session")
def model_128(networks_128, tmp_path_factory) -> Path:
    """A checkpoint folder with these networks, for tests that leave it as it is."""
    return save(networks_128, tmp_path_factory.mktemp("models") / "large")


@pytest.fixture(scope="session")
def model_of_other_sizes(tmp_path_factory) -> Path:
    """A checkpoint folder with pictures of 32×32, noise of 40 numbers and embeddings of 96; tests leave it as it is."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = {
            "text_encoder": TextEncoder(TextEncoderConfig(widths=(16, 16, 16), hidden=16, embedding=96)),
            "generator": tiny_cbn(32, noise=40, embedding=96),
            "style_encoder": StyleEncoder(StyleEncoderConfig(width=8, noise=40)),
            "image_encoder": ImageEncoder(ImageEncoderConfig(width=8, embedding=96)),
        }
    mean = store.vector_to_text(torch.ones(96) / 10)
    return save(networks, tmp_path_factory.mktemp("models") / "other", caption_mean=mean)


@pytest.fixture(scope="session")
def compared(tiny_networks, tmp_path_factory) -> dict[str, Path]:
    """Tiny models of the four objectives, by name; they share the text encoder of "flowers".

    GAN-CLS alone has figures beside its weights.
    """
    folders = {}
    for seed, objective in enumerate(OBJECTIVES):
        generator = copy.deepcopy(tiny_networks["generator"])
        noise = torch.Generator().manual_seed(seed)
        for weight in generator.parameters():
            weight.data *= 1 + 0.3 * torch.randn(weight.shape, generator=noise)
        folder = save({"generator": generator}, tmp_path_factory.mktemp("compared"), text_encoder="flowers")
        folders[f"paper-{objective}"] = folder
    figures = {"fidelity": {"pictures": {"kid": 0.0625}}, "agreement": {"pictures": {"r_precision": 0.141}}}
    (folders["paper-gan-cls"] / "evaluation.json").write_text(json.dumps(figures))
    return folders


@pytest.fixture(scope="session")
def url(model, compared):
    """The address of the page, served with the tiny models."""
    with served({"flowers": model, **compared}, free_port()) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium(shell=True) as browser:
        yield browser


@pytest.fixture(scope="module")
def contexts(browser) -> list:
    """Browser contexts without a page, each with the origins of its earlier pages: their cache serves the next page."""
    return []


@pytest.fixture
def new_page(browser, contexts):
    """Opens pages, each a new visitor's; at the end it checks that none has shown a dialog or raised an error."""
    pages, problems = [], []

    def open_page(address: str, **properties):
        is_reused = bool(contexts) and not properties
        context, origins = contexts.pop() if is_reused else (browser.new_context(**DESKTOP | properties), set())
        page = context.new_page()
        forget(page, origins)
        pages.append((page, origins, not properties))
        page.add_init_script(SAVE_DATA)
        page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("framenavigated", lambda frame: origins.add("{0.scheme}://{0.netloc}".format(urlsplit(frame.url))))
        page.goto(address)
        return page

    yield open_page
    for page, origins, is_desktop in pages:
        for tab in page.context.pages:  # the test may have closed the page, or opened others
            tab.unroute_all(behavior="ignoreErrors")  # a route that still answers would raise in the next test
            tab.close()
        if is_desktop:
            contexts.append((page.context, origins))
        else:
            page.context.close()
    assert not problems


@pytest.fixture
def page(new_page, url):
    page = new_page(f"{url}/?tab=draw")
    settle(page)
    return page


@pytest.fixture
def use_models(monkeypatch, tmp_path_factory):
    """Puts models in the place of registered ones, by name; None stands for missing weights."""

    def use(models: dict[str, Path | None]) -> None:
        folder = weights_folder(tmp_path_factory.mktemp("weights") / "weights", models)
        monkeypatch.setattr(registry, "WEIGHTS", folder)
        left_out = unnamed_comparisons(models)
        kept = {name: spec for name, spec in registry.MODELS.items() if name not in left_out}
        monkeypatch.setattr(registry.MODELS, "data", kept)  # as a whole: put back one by one, they lose their order

    return use


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A fake Hub with an empty cache; the client does not wait before it retries."""
    sleep = time.sleep
    with serve() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        files = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.01)))
        yield hub
        huggingface_hub.close_session()
