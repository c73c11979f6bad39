import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import t2i
from t2i import store
from t2i.data import imagefolder
from t2i.data.corpus import load_corpus
from t2i.errors import InputError
from t2i.locate import Checkpoint
from t2i.models import CBNGenerator, CBNGeneratorConfig, TextEncoder, TextEncoderConfig
from t2i.registry import OBJECTIVES
from t2i.training import paper, projected
from t2i.training.attributes import ATTRIBUTES
from t2i.training.fit import step_generator
from tests.datasets import write_dataset

NARROW = (8, 8, 8, 8, 8, 8, 8, 8)  # channels of G here


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """A narrow G, few photos to measure, and a state after every third step."""
    monkeypatch.setattr(projected, "CBNGeneratorConfig", lambda **sizes: CBNGeneratorConfig(channels=NARROW, **sizes))
    monkeypatch.setattr(projected.Corpus, "pairs", lambda corpus, count=0: PAIRS(corpus, 32))
    monkeypatch.setattr(projected, "SAVE_EVERY", 3)
    monkeypatch.setattr(projected, "STATISTICS_BATCHES", 2)


PAIRS = projected.Corpus.pairs


def write_text_encoder(folder: Path) -> Path:
    torch.manual_seed(1)
    network = TextEncoder(TextEncoderConfig(widths=(16, 16, 16), hidden=16, embedding=32))
    store.save(folder, {"text_encoder": network}, {"words": "a red square", "training": {}})
    return folder


@pytest.fixture
def text(tmp_path):
    return write_text_encoder(tmp_path / "text")


@pytest.fixture
def config(dataset, text, tmp_path):
    return projected.ProjectedTraining(str(dataset), str(text), str(tmp_path / "out"), steps=3, batch=8, size=32)


def corpus_of(config):
    text = Checkpoint(config.text).read("text_encoder")["text_encoder"]
    return load_corpus(imagefolder.read(config.data, config.size * 9 // 8), text, config.size, config.batch, "cpu")


def test_it_writes_a_checkpoint_that_names_its_type_a_sheet_and_a_log(config):
    out = projected.train(config)
    written = json.loads((out / "config.json").read_text())
    assert written["generator"]["type"] == "cbn" and written["generator"]["size"] == 32
    run = written["training"]["gan"]
    assert (run["trainer"], run["steps_done"], run["objective"]) == ("projected", 3, "gan-int-cls")
    assert run["seconds"] >= 0 and run["hardware"]
    assert "attributes" not in written, "it has not learned any yet"
    assert len(Checkpoint(out).caption_mean) == 32
    assert (out / "samples-000003.png").stat().st_size > 1000
    assert json.loads((out / "log.jsonl").read_text())["step"] == 3
    generator = Checkpoint(out).read("generator")["generator"]
    assert isinstance(generator, CBNGenerator) and not generator.training


def test_the_page_of_a_trained_model_offers_captions_of_its_data(config):
    studio = t2i.load(projected.train(config))
    dataset = imagefolder.read(config.data, 36)
    captions = {caption for i in dataset.rows("train", "val") for caption in dataset.captions[i]}
    assert studio.spec.examples and captions.issuperset(studio.spec.examples)
    path = Path(config.out) / "model.json"
    path.write_text('{"title": "Squares"}')
    projected.train(replace(config, steps=6))
    assert path.read_text() == '{"title": "Squares"}', "what the owner wrote stays"


def test_five_pictures_without_any_class_or_split_fine_tune_a_model(config, tmp_path):
    start = projected.train(config)
    folder = write_dataset(tmp_path / "five")
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()[:25:6]]
    lines = [{"file_name": line["file_name"], "text": line["captions"][0]} for line in lines]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    five = replace(config, data=str(folder), start=str(start), out=str(tmp_path / "tuned"), batch=64, steps=3)
    record = json.loads((projected.train(five) / "config.json").read_text())["training"]["gan"]
    assert len(lines) == 5 and record["before"]["data"] == "squares"
    assert len(t2i.load(five.out).draw("a red square", seeds=range(2))) == 2


def test_a_resumed_run_continues_from_the_saved_step(config, monkeypatch):
    steps = []
    real = projected.Trainer.step

    def recorded(self, batch, step):
        steps.append((step, batch.z[0, 0].item()))
        return real(self, batch, step)

    monkeypatch.setattr(projected.Trainer, "step", recorded)
    projected.train(config)
    projected.train(replace(config, steps=6))
    assert [step for step, _ in steps] == [0, 1, 2, 3, 4, 5]
    assert len({z for _, z in steps}) == 6, "no step repeats another's noise"
    first, second = (json.loads(line)["step"] for line in open(f"{config.out}/log.jsonl"))
    assert (first, second) == (3, 6)


def test_a_state_holds_all_weights_in_half_precision(config):
    corpus = corpus_of(config)
    trainer = projected.Trainer(config, corpus, "cpu")
    trainer.step(batch_of(config, corpus), 0)
    state = trainer.state_dict()
    loaded = projected.Trainer(replace(config, seed=5), corpus, "cpu")
    loaded.load_state_dict(state)
    for before, after in zip(trainer._networks().values(), loaded._networks().values()):
        for a, b in zip(before.state_dict().values(), after.state_dict().values()):
            assert torch.allclose(a, b, atol=1e-3, rtol=2e-3)
    assert not any(weights.dtype == torch.float32 for part in state.values() for weights in part.values())


def batch_of(config, corpus, step=0):
    return projected.Batch.sample(corpus, config, 100, step_generator(config.seed, step))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_batch_has_the_captions_of_its_objective(config, objective):
    config = replace(config, objective=objective, batch=16)
    corpus = corpus_of(config)
    batch = batch_of(config, corpus)
    assert batch.photos.shape == (16, 3, 32, 32) and batch.photos.abs().max() <= 1
    uncaptioned, pairs, rows = batch.uncaptioned, batch.pairs, batch.not_interpolated()
    assert (uncaptioned, pairs) == (4, 6) and (batch.h[:uncaptioned] == 0).all()
    assert torch.equal(batch.h[uncaptioned : uncaptioned + pairs], batch.h[uncaptioned + pairs :]), "each caption twice"
    assert len(batch.z.unique(dim=0)) == 16, "each with its own noise"
    assert batch.interpolated == (1 if "int" in objective else 0)
    assert (batch.h[rows].abs().sum(1) > 0).all() and len(rows) == 2 * (pairs - batch.interpolated)


@pytest.mark.parametrize("batch, interpolated", [(4, 0), (6, 1), (8, 1), (16, 1), (32, 3), (64, 6)])
def test_small_batches_have_interpolated_captions_too_if_they_have_two(config, batch, interpolated):
    config = replace(config, batch=batch)
    batch = batch_of(config, corpus_of(replace(config, batch=4)))
    assert batch.interpolated == interpolated and len(batch.not_interpolated()) > 0


def test_mismatching_captions_are_of_other_classes(config):
    corpus = corpus_of(config)
    marked = np.zeros_like(corpus.embeddings)
    marked[..., 0] = corpus.classes[:, None]
    corpus = replace(corpus, embeddings=marked)
    for step in range(20):
        batch = batch_of(config, corpus, step)
        assert (batch.matching[:, 0] != batch.mismatching[:, 0]).all()
        channel = batch.photos.mean((2, 3)).argmax(1) + 1  # red 1, green 2, blue 3
        assert torch.equal(channel.float(), batch.matching[:, 0].round())


def test_losses_on_a_fixed_batch_fall(config):
    """D's loss falls while only D learns, and G's while only G learns."""
    config = replace(config, steps=1000, lr=4e-3, lr_d=4e-3)
    corpus = corpus_of(config)
    trainer = projected.Trainer(config, corpus, "cpu")
    batch = batch_of(config, corpus)
    for name, frozen in (("D", "gq"), ("G", "d")):
        steps = {n: trainer.optimizers[n].step for n in frozen}
        for n in frozen:
            trainer.optimizers[n].step = lambda: None
        losses = []
        for _ in range(7):
            torch.manual_seed(0)  # the same augmentation
            losses.append(trainer.step(batch, 0)[name])
        for n in frozen:
            trainer.optimizers[n].step = steps[n]
        assert losses[-1] < losses[0] - 0.3, (name, losses)


def test_mismatching_captions_matter_only_with_cls(config):
    corpus = corpus_of(config)
    for objective, matter in (("gan", False), ("gan-cls", True)):
        config, losses = replace(config, objective=objective), []
        batch = batch_of(config, corpus)
        for mismatching in (batch.mismatching, -batch.mismatching):
            trainer = projected.Trainer(config, corpus, "cpu")
            torch.manual_seed(0)
            losses.append(trainer.step(replace(batch, mismatching=mismatching), 0)["D"])
        assert (losses[0] != losses[1]) is matter


def test_attribute_and_mutual_information_losses_begin_late(config):
    corpus = corpus_of(config)
    trainer = projected.Trainer(replace(config, steps=10_000), corpus, "cpu")
    early = trainer.step(batch_of(config, corpus), projected.RAMP_START)
    late = trainer.step(batch_of(config, corpus, 1), projected.RAMP_START + projected.RAMP_STEPS)
    assert early["attributes"] == 0 < late["attributes"]
    assert 0 < early["information"] < 0.01 < late["information"]


def test_sliders_are_named_once_their_attributes_have_been_learned(config, tmp_path, monkeypatch):
    monkeypatch.setattr(projected, "RAMP_START", 2)
    start = projected.train(config)
    assert json.loads((start / "config.json").read_text())["attributes"] == [list(row) for row in ATTRIBUTES]
    monkeypatch.setattr(projected, "RAMP_START", 100)
    tuned = projected.train(replace(config, start=str(start), out=str(tmp_path / "tuned")))
    assert "attributes" in json.loads((tuned / "config.json").read_text()), "the model it starts from has them"
    without = projected.train(replace(config, attributes=0.0, out=str(tmp_path / "without")))
    assert "attributes" not in json.loads((without / "config.json").read_text())


def test_learning_rates_fall_over_the_last_quarter():
    assert [projected.lr_factor(progress) for progress in (0, 0.75)] == [1, 1]
    assert projected.lr_factor(0.875) == pytest.approx(0.55)
    assert projected.lr_factor(1) == projected.lr_factor(1.5) == pytest.approx(0.1)


def test_batch_norm_statistics_are_those_of_the_averaged_weights(config, monkeypatch):
    monkeypatch.setattr(projected, "STATISTICS_BATCHES", 40)
    corpus = corpus_of(config)
    trainer = projected.Trainer(config, corpus, "cpu")
    for parameter in trainer.ema.parameters():
        parameter.mul_(1.5)  # so that they are not those of the weights in training
    generator = trainer.averaged(corpus)
    with torch.inference_mode():
        h = corpus.captions(torch.randint(len(corpus), (64,)), 1, step_generator(0, 1))
        z = torch.randn(64, 100)
        with_running = generator(z, h)
        with_batch = generator.train()(z, h)
    assert (with_running - with_batch).abs().mean() < 0.05
    assert all(torch.equal(a, b) for a, b in zip(generator.parameters(), trainer.ema.parameters()))


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_what_was_saved(config, monkeypatch):
    out = projected.train(config)
    before = load_file(out / "generator.safetensors")
    real = projected.Trainer._update_ema

    def spoil(self, step):
        real(self, step)
        next(self.generator.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(projected.Trainer, "_update_ema", spoil)
    with pytest.raises(InputError, match=r"step 5: a loss is no longer finite; what was saved last is kept.*--lr"):
        projected.train(replace(config, steps=6))
    after = load_file(out / "generator.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_another_data_set_raises_an_error(config, tmp_path):
    projected.train(config)
    other_data = write_dataset(tmp_path / "others", each=9)
    with pytest.raises(InputError, match="--data .*others: is not what this run began with"):
        projected.train(replace(config, data=str(other_data)))


def test_a_state_of_the_papers_trainer_raises_an_error(config, text):
    sizes = {"epochs": 1, "batch": 8, "width": 4}
    paper.train(paper.GanTraining(config.data, config.text, config.out, **sizes))
    with pytest.raises(InputError, match="holds a run with another configuration"):
        projected.train(config)


def test_a_run_can_start_from_a_model_whose_generator_is_frozen_at_first(config, tmp_path):
    first = projected.train(config)
    started = replace(config, start=str(first), out=str(tmp_path / "second"))
    second = projected.train(started)
    learned = dict(CBNGenerator(CBNGeneratorConfig(size=32, embedding=32, channels=NARROW)).named_parameters())
    old, new = (load_file(folder / "generator.safetensors") for folder in (first, second))
    assert all(torch.equal(old[name], new[name]) for name in learned)
    run = json.loads((second / "config.json").read_text())["training"]["gan"]
    assert run["start"] == "out" and run["before"]["steps_done"] == 3
    third = projected.train(replace(started, start="", steps=6))  # a resumed run need not name its start
    run = json.loads((third / "config.json").read_text())["training"]["gan"]
    assert run["start"] == "out" and run["before"]["steps_done"] == 3 and run["steps_done"] == 6


def test_a_start_must_be_of_this_trainer_and_size(config, tmp_path):
    first = projected.train(config)
    with pytest.raises(InputError, match="size=32.*but --size and --text ask for .*size=64"):
        projected.train(replace(config, start=str(first), out=str(tmp_path / "large"), size=64))
    papers = paper.GanTraining(config.data, config.text, str(tmp_path / "paper"), epochs=1, batch=8, width=4)
    with pytest.raises(InputError, match="holds a generator of the paper's trainer, `train gan`"):
        projected.train(replace(config, start=str(paper.train(papers)), out=str(tmp_path / "third")))
    with pytest.raises(InputError, match="holds a generator of `train projected`"):
        paper.train(replace(papers, start=str(first), out=str(tmp_path / "fourth")))


@pytest.mark.parametrize("size", [16, 96, 1024])
def test_a_size_that_is_not_a_power_of_two_raises_an_error(config, size):
    with pytest.raises(InputError, match=f"size must be a power of two from 32 to 512, not {size}"):
        replace(config, size=size)


def test_an_unknown_objective_raises_an_error(config):
    with pytest.raises(InputError, match="unknown objective 'wgan'"):
        replace(config, objective="wgan")


def test_a_model_of_this_trainer_draws(config):
    out = projected.train(config)
    assert t2i.load(str(out)).draw("a red square", seeds=range(3))[0].size == (32, 32)
