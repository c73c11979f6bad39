"""Networks as ONNX compute what the plain ones compute, in onnxruntime."""

import json
from hashlib import sha256

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import t2i
from t2i.models import encode
from t2i.models.onnx import to_onnx
from t2i.models.text_encoder import embed
from tests.generators import max_difference, plain_pixels, random_embeddings, random_noise, tiny_cbn

CAPTIONS = ["a red flower", "a flower with long thin petals that are pink and white, and a yellow centre " * 4, "x", ""]


def run(data: bytes, **inputs: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    [output] = onnxruntime.InferenceSession(data, options).run(None, inputs)
    return output


def test_the_text_encoder_reads_captions_of_any_length(tiny_networks):
    encoder, codes = tiny_networks["text_encoder"], encode(CAPTIONS)
    data = to_onnx(encoder)
    with torch.no_grad():
        h = embed(encoder, codes)
    codes = codes.numpy().astype(np.int32)
    computed = run(data, codes=codes)
    assert np.abs(computed - h.numpy()).max() < 0.01  # of numbers of root mean square 1; its weights are halves
    assert np.array_equal(run(data, codes=codes[:1, :66]), computed[:1])  # the rest is padding


@pytest.mark.parametrize(
    "generator", [lambda networks: networks["generator"], lambda _: tiny_cbn(64), lambda _: tiny_cbn()]
)
@pytest.mark.parametrize("count", [1, 5])
def test_a_generator_draws_the_same_pictures_but_for_rounding(tiny_networks, generator, count):
    network = generator(tiny_networks)
    z, h = random_noise(count), random_embeddings(count)
    computed = run(to_onnx(network), z=z.numpy(), h=h.numpy())
    expected = plain_pixels(network, z, h)
    assert computed.shape == expected.shape and computed.dtype == np.uint8
    assert max_difference(computed, expected) <= 2
    assert expected.std() > 20  # not of one colour


def test_the_style_encoder_infers_the_same_noise(tiny_networks):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    with torch.no_grad():
        z = tiny_networks["style_encoder"]((torch.from_numpy(pixels).permute(0, 3, 1, 2) - 127.5) / 127.5)
    assert np.abs(run(to_onnx(tiny_networks["style_encoder"]), pixels=pixels) - z.numpy()).max() < 0.01


def test_a_model_is_exported_with_a_manifest_of_its_files(model_128, tmp_path):
    paths = t2i.export_onnx(model_128, tmp_path / "new")
    manifest = json.loads((tmp_path / "new" / "manifest.json").read_text())
    assert [path.name for path in paths] == [entry["file"] for entry in manifest["networks"].values()] + [
        "manifest.json"
    ]
    for entry in manifest["networks"].values():
        data = (tmp_path / "new" / entry["file"]).read_bytes()
        assert (len(data), sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"])
    studio = t2i.load(model_128)
    assert manifest["size"] == studio.size and manifest["parameters"] == studio.parameters
    z, h = t2i.noise(range(3)), studio.engine.embed(["a red flower"]).expand(3, -1).numpy()
    moved = z + 0.5 * torch.tensor(manifest["directions"][1])
    generator = (tmp_path / "new" / manifest["networks"]["generator"]["file"]).read_bytes()
    drawn = studio.draw_array("a red flower", range(3), attributes=[0, 0.5])
    assert max_difference(run(generator, z=moved.numpy(), h=h), drawn) <= 6  # the engine may compute in bfloat16


def test_a_model_of_other_sizes_is_exported_with_them(model_of_other_sizes, tmp_path):
    t2i.export_onnx(model_of_other_sizes, tmp_path)
    manifest, studio = json.loads((tmp_path / "manifest.json").read_text()), t2i.load(model_of_other_sizes, "cpu")
    assert {name: manifest[name] for name in ("size", "noise", "embedding")} == {
        "size": 32,
        "noise": 40,
        "embedding": 96,
    }
    assert np.shape(manifest["directions"]) == (4, 40) and len(manifest["caption_mean"]) == 96
    networks = {role: (tmp_path / entry["file"]).read_bytes() for role, entry in manifest["networks"].items()}
    caption = "a red flower"
    h = run(networks["text_encoder"], codes=encode([caption]).numpy().astype(np.int32))
    drawn = run(networks["generator"], z=t2i.noise(7, manifest["noise"]).numpy(), h=h)
    difference = np.abs(drawn.astype(int) - studio.draw_array(caption, 7))
    assert difference.max() <= 16 and difference.mean() < 2  # the engine may compute in bfloat16
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    z = studio.style(Image.fromarray(pixels[0])).numpy()
    assert np.abs(run(networks["style_encoder"], pixels=pixels) - z).max() < 0.05


def test_a_model_of_a_type_without_a_form_for_onnx_is_refused(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr("t2i.models.onnx.ONNX_FORMS", {})
    with pytest.raises(t2i.InputError, match="the text_encoder has no form for ONNX"):
        t2i.export_onnx(tiny_model, tmp_path / "new")
    assert not (tmp_path / "new").exists()
