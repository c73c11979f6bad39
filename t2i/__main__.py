"""The command line: `python -m t2i draw`, `blend`, `wander`, `restyle`, `search`, `describe`, …: see `--help`."""

import argparse
import importlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import numpy as np
from PIL import Image

from . import InputError, Studio, export_onnx, load, locate, store
from .device import is_first_process, use_cores
from .media import export
from .media.photo import ENCODER_INPUT_SIZE, open_photo, prepare

MAX_PICTURES_PER_CAPTION = 256
MAX_INTEGER = 2**31 - 1  # of a training option, a seed or a size
# By option, else 1: four pictures are two pairs of captions to interpolate, and a bottleneck is a quarter of 2 n.
MIN_INTEGERS = {"seed": 0, "batch": 4, "width": 2}
WAIT_FOR_FIRST_PROCESS = 60  # seconds in which torchrun ends this process, if the first one has the same error
BENCHMARKS = ("engine", "crowd", "screen", "training")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


class _Terminated(KeyboardInterrupt):
    """SIGTERM: files that are being written are removed as for Ctrl-C."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    The exit code is 0, 2 for a mistake of the user (printed in one line), 130 for Ctrl-C and 143 for SIGTERM.
    Of the processes of torchrun, the first one prints; another only does if the first has not had the same error.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    _print_any_character()
    try:
        with _termination():
            options = _parser(arguments).parse_args(arguments)
            use_cores()
            options.run(options)
        return 0
    except InputError as error:
        message, code = str(error), 2
    except OSError as error:
        path = error.filename2 or error.filename  # of a rename, the second is the one that the user named
        message, code = f"{path}: {error.strerror}" if path else str(error), 2
    except KeyboardInterrupt as error:
        number = signal.SIGTERM if isinstance(error, _Terminated) else signal.SIGINT
        message, code = "stopped; a training resumes when its command is repeated", 128 + number
        if not is_first_process():
            return code
    if not is_first_process():
        time.sleep(WAIT_FOR_FIRST_PROCESS)  # if it ended now, torchrun might end the first one before that prints
    print("t2i:", " ".join(message.split()), file=sys.stderr)  # after the progress bar has ended its line
    return code


def _print_any_character() -> None:
    """Print characters that the output's encoding lacks as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _termination() -> Iterator[None]:
    """Raise `_Terminated` on SIGTERM."""

    def terminate(number: int, frame: object) -> NoReturn:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser(arguments: list[str]) -> _Parser:
    parser = _Parser(prog="python -m t2i", description="Generative Adversarial Text to Image Synthesis")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    draw = _add(commands, _draw, "draw", "draw captions into a PNG sheet, one row for each", out="grid.png")
    draw.add_argument("captions", nargs="+", metavar="CAPTION")
    draw.add_argument("--seed", type=int, default=0, help="of the first picture (default: %(default)s)")
    draw.add_argument("--count", type=int, default=16, help="pictures of each caption (default: %(default)s)")
    blend = _add(commands, _blend, "blend", "interpolate between two captions (GAN-INT)", out="blend.gif", film=True)
    blend.add_argument("captions", nargs=2, metavar="CAPTION")
    blend.add_argument("--seed", type=int, default=0, help="of every picture (default: %(default)s)")
    wander = _add(commands, _wander, "wander", "interpolate between two seeds", out="wander.gif", film=True)
    wander.add_argument("caption", metavar="CAPTION")
    wander.add_argument("--seed", type=int, default=0, help="of the first picture (default: %(default)s)")
    wander.add_argument("--to", type=int, default=1, help="seed of the last picture (default: %(default)s)")
    restyle = _add(commands, _restyle, "restyle", "draw captions in the styles of photos", out="styles.png")
    restyle.add_argument("captions", nargs="+", metavar="CAPTION")
    restyle.add_argument("--photo", nargs="+", type=Path, required=True, help="one row for each")
    search = commands.add_parser("search", help="find the photos that match a caption")
    search.add_argument("caption", metavar="CAPTION")
    search.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="a picture, or a data set of pictures")
    search.add_argument("--model", default="flowers", help="a name, a folder or a Hub id (default: %(default)s)")
    search.add_argument("--count", type=int, default=16, help="how many to print (default: %(default)s)")
    search.set_defaults(run=_search)
    describe = commands.add_parser("describe", help="rank captions for a photo")
    describe.add_argument("photo", type=Path, metavar="PHOTO")
    describe.add_argument("captions", nargs="+", metavar="CAPTION")
    describe.add_argument("--model", default="flowers", help="a name, a folder or a Hub id (default: %(default)s)")
    describe.set_defaults(run=_describe)
    evaluate = commands.add_parser("evaluate", help="measure a model on a test split, or write the tables")
    evaluate.add_argument("models", nargs="*", metavar="MODEL", help="a name, a folder or a Hub id")
    evaluate.add_argument("--data", help="a zip or folder with a test split")
    evaluate.add_argument("--judge", default="", help="a text encoder of another seed (default: the model's `judge`)")
    evaluate.add_argument("--seed", type=_number(int, 0), default=0, help="(default: %(default)s)")
    evaluate.add_argument("--json", type=Path, help="write the measurements to this file (one model)")
    evaluate.add_argument("--sheet", type=Path, help="do not measure, but draw eight captions with the models: a PNG")
    between = "with --sheet, without --data: from one caption to the other, and from --seed to the next, by each model"
    evaluate.add_argument("--between", nargs=2, metavar="CAPTION", help=between)
    evaluate.add_argument("--table", action="store_true", help="write the tables of weights/*/evaluation.json")
    evaluate.set_defaults(run=_evaluate)
    bench = commands.add_parser("bench", help="measure how fast a model is on this machine")
    benchmarks = "the engine, many visitors who type, the page in a browser, or a training step (default: %(default)s)"
    bench.add_argument("what", nargs="?", default=BENCHMARKS[0], choices=BENCHMARKS, help=benchmarks)
    bench.add_argument("--model", help="a name, a folder or a Hub id (default: flowers); not for training")
    bench.add_argument("--json", type=Path, help="write the measurements to this file")
    bench.set_defaults(run=_bench)
    export_ = commands.add_parser("export", help="write a model for runtimes outside Python")
    export_.add_argument("model", metavar="MODEL", help="a name, a folder or a Hub id")
    export_.add_argument(
        "--onnx", type=Path, required=True, metavar="FOLDER", help="for the networks and their manifest"
    )
    export_.set_defaults(run=_export)
    publish = commands.add_parser("publish", help="upload a model, or this repository as a Space, to the Hub")
    publish.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="the folder of the model")
    publish.add_argument("hub_id", metavar="OWNER/NAME")
    publish.add_argument("--space", action="store_true", help="upload the files of the page instead of a model")
    publish.add_argument("--pip-index", metavar="URL", help="where the Space gets PyTorch without CUDA (needs --space)")
    publish.add_argument("--dry-run", action="store_true", help="list the files and their sizes, and stop")
    publish.set_defaults(run=_publish)
    train = commands.add_parser("train", help="train a network: text, then projected (or gan), image and style")
    if arguments[:1] == ["train"]:  # no other command needs the packages of the training
        _add_trainings(train)
    return parser


def _add(commands, run: Callable, name: str, help_: str, out: str, film: bool = False) -> argparse.ArgumentParser:
    """A command that writes a picture or a film, with the options that all of them have."""
    parser = commands.add_parser(name, help=help_)
    parser.add_argument("--model", default="flowers", help="a name, a folder or a Hub id (default: %(default)s)")
    if film:
        parser.add_argument("--steps", type=int, default=17, help="number of pictures (default: %(default)s)")
    formats = "a .webp or .mp4 film of at least 512×512, a .gif of 256×256, or a .png sheet" if film else "the PNG"
    parser.add_argument("--out", type=Path, default=Path(out), help=f"{formats} (default: %(default)s)")
    parser.set_defaults(run=run)
    return parser


def _draw(options: argparse.Namespace) -> None:
    if not 1 <= options.count <= MAX_PICTURES_PER_CAPTION:
        raise InputError(f"--count must be from 1 to {MAX_PICTURES_PER_CAPTION}, not {options.count}")
    _check_png("--out", options.out)
    studio, captions = _studio(options), _clean(options.captions)
    seeds = range(options.seed, options.seed + options.count)
    pictures = np.stack([studio.draw_array(caption, seeds) for caption in captions])
    if len(captions) == 1:
        pictures = export.grid(pictures[0])
    metadata = {"captions": captions, "seed": options.seed, "count": options.count, "model": options.model}
    _write(options.out, export.png(export.sheet(pictures), metadata))


def _blend(options: argparse.Namespace) -> None:
    studio, [first, last] = _studio(options), _clean(options.captions)
    metadata = {"captions": [first, last], "seed": options.seed, "steps": options.steps, "model": options.model}
    _write_film(options.out, studio.blend(first, last, options.steps, options.seed), metadata)


def _wander(options: argparse.Namespace) -> None:
    studio, [caption] = _studio(options), _clean([options.caption])
    metadata = {"captions": [caption], "seed": options.seed, "to": options.to, "steps": options.steps}
    pictures = studio.wander(caption, options.seed, options.to, options.steps)
    _write_film(options.out, pictures, metadata | {"model": options.model})


def _restyle(options: argparse.Namespace) -> None:
    _check_png("--out", options.out)
    studio, captions = _studio(options), _clean(options.captions)
    photos = [_central_square(path, max(ENCODER_INPUT_SIZE, studio.size)) for path in options.photo]
    rows = [
        np.stack([export.resize(photo, studio.size), *studio.restyle_array(Image.fromarray(photo), captions)])
        for photo in photos
    ]
    metadata = {"captions": captions, "photos": [path.name for path in options.photo], "model": options.model}
    _write(options.out, export.png(export.sheet(np.stack(rows)), metadata))


def _search(options: argparse.Namespace) -> None:
    if options.count < 1:
        raise InputError(f"--count must be from 1, not {options.count}")
    [caption], studio = _clean([options.caption]), load(options.model)
    photos = dict(_photos(options.photos))
    if not photos:
        raise InputError("none of these pictures can be read: save them anew as PNG or JPEG")
    places = list(photos)
    for row, score in studio.search(caption, studio.index(list(photos.values())), options.count):
        print(f"{score:.3f}  {places[row]}")


def _photos(paths: list[Path]) -> Iterator[tuple[str, Image.Image]]:
    """Where each photo is, and its central square. Of a data set, those that cannot be read are skipped with a message.

    A path names a photo, or a folder, zip, tar or Parquet file with photos.
    """
    from .data import files, imagefolder

    found = False
    for path in paths:
        if not path.is_dir() and not files.is_packed(path):
            found = True
            yield str(path), Image.fromarray(_central_square(path))
            continue
        for place, read in imagefolder.pictures(path):
            found = True
            try:
                yield place, Image.fromarray(prepare(open_photo(io.BytesIO(read()))))
            except InputError as error:
                print(f"skipped: {place}: {error}", file=sys.stderr)
    if not found:
        raise InputError(f"{paths[0]}: contains no pictures: give a picture, or a folder or an archive with some")


def _describe(options: argparse.Namespace) -> None:
    photo = Image.fromarray(_central_square(options.photo))
    for caption, score in load(options.model).describe(photo, _clean(options.captions)):
        print(f"{score:.3f}  {caption}")


def _central_square(path: Path, size: int = ENCODER_INPUT_SIZE) -> np.ndarray:
    """The central square of a photo, (size, size, 3), uint8."""
    photo = open_photo(path)
    try:
        return prepare(photo, size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _studio(options: argparse.Namespace) -> Studio:
    """Load the model, after checking that --out names a file."""
    if not options.out.name:
        raise InputError("--out must name a file")
    return load(options.model)


def _check_png(option: str, path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise InputError(f"{option} must name a file that ends in .png, not {str(path)!r}")


def _clean(captions: list[str]) -> list[str]:
    """Replace the lone surrogates that stand for undecodable bytes of a command line."""
    return [caption.encode("utf-8", "replace").decode() for caption in captions]


def _write_film(path: Path, pictures: list[Image.Image], metadata: dict) -> None:
    _write(path, export.film(np.stack([np.asarray(picture) for picture in pictures]), path.suffix.lower(), metadata))


def _write(path: Path, data: bytes) -> None:
    store.write(path, lambda partial: partial.write_bytes(data))
    print(path)


def _evaluate(options: argparse.Namespace) -> None:
    from .evaluation import report

    if options.table:
        return print(*report.write(), sep="\n")
    if options.between and not (options.models and options.sheet and not options.data):
        raise InputError("--between needs a MODEL and --sheet, and no --data")
    if not options.models or not (options.data or options.between):
        raise InputError("evaluate needs a MODEL and --data, or --table alone")
    if options.json and len(options.models) > 1:
        raise InputError(f"--json writes the measurements of one model, not of {len(options.models)}")
    try:
        from .evaluation import run, sheet
    except ModuleNotFoundError as error:
        raise InputError(f"evaluation needs {error.name}: pip install -r requirements-train.txt") from None
    if options.sheet:
        _check_png("--sheet", options.sheet)
        if options.between:
            pictures = sheet.interpolation(options.models, _clean(options.between), options.seed)
        else:
            pictures = sheet.comparison(options.models, options.data, options.seed)
        return _write(options.sheet, pictures)
    for model in options.models:
        measurements = run.evaluate(run.Evaluation(model, options.data, options.judge, options.seed))
        if options.json:
            _write(options.json, (json.dumps(measurements, indent=1) + "\n").encode())
        print(report.lines(measurements))


def _bench(options: argparse.Namespace) -> None:
    try:
        bench = importlib.import_module(f".bench.{options.what}", __package__)
    except ModuleNotFoundError as error:
        raise InputError(f"this benchmark needs {error.name}: pip install -r requirements-dev.txt") from None
    if options.what == "training" and options.model:
        raise InputError("bench training measures the trainers: it takes no --model")
    measurements = bench.run() if options.what == "training" else bench.run(options.model or "flowers")
    if options.json:
        _write(options.json, (json.dumps(measurements, indent=1) + "\n").encode())
    print(bench.table(measurements))


def _export(options: argparse.Namespace) -> None:
    print(*export_onnx(options.model, options.onnx), sep="\n")


def _publish(options: argparse.Namespace) -> None:
    from . import publish  # slow to import

    if options.space == bool(options.folder):
        raise InputError("publish needs either FOLDER or --space")
    if not locate.HUB_ID.fullmatch(options.hub_id) or "@" in options.hub_id:
        raise InputError(f"{options.hub_id!r} is not a Hub id: it must be owner/name")
    if options.pip_index is not None and not options.space:
        raise InputError("--pip-index is for a Space: it needs --space")
    if options.space:
        files = publish.space_files(options.hub_id, pip_index=options.pip_index)
        if not options.pip_index and publish.is_without_gpu(files):
            print(
                f"t2i: {options.hub_id} has no GPU but will install torch with CUDA, which takes gigabytes: avoid that "
                "by --pip-index with the address that pytorch.org's installation page shows for Linux, pip and CPU",
                file=sys.stderr,
            )
    else:
        files = publish.model_files(options.folder)
    print(publish.list_files(files))
    if not options.dry_run:
        print(publish.upload(files, options.hub_id, options.space))


def _add_trainings(train: argparse.ArgumentParser) -> None:
    """A command for each training, with an option for each field of its configuration."""
    try:
        from .training import image, paper, projected, style, text
    except ModuleNotFoundError as error:
        raise InputError(f"training needs {error.name}: pip install -r requirements-train.txt") from None
    trainings = train.add_subparsers(required=True, metavar="NETWORK")
    for name, module, config in (
        ("text", text, text.TextTraining),
        ("projected", projected, projected.ProjectedTraining),
        ("gan", paper, paper.GanTraining),
        ("image", image, image.ImageTraining),
        ("style", style, style.StyleTraining),
    ):
        purpose = (module.__doc__ or "").partition("\n")[0]
        parser, types = trainings.add_parser(name, help=purpose, description=purpose), get_type_hints(config)
        for field in fields(config):
            required, type_ = field.default is MISSING, types[field.name]
            if type_ is bool:
                options: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
            elif type_ is str:
                options = {"type": str}
            else:
                options = {"type": _number(type_, MIN_INTEGERS.get(field.name, 1))}
            parser.add_argument(
                f"--{field.name.replace('_', '-')}",
                **options,
                required=required,
                default=None if required else field.default,
                help=None if required else "(default: %(default)s)",
            )
        parser.add_argument("--dry-run", action="store_true", help="print the configuration as JSON and stop")
        parser.set_defaults(run=_train, train=module.train, config=config, distributed=name == "projected")


def _number(type_: type, min_integer: int) -> Callable[[str], int | float]:
    """A parser of whole numbers from `min_integer` to `MAX_INTEGER`, or of floats from 0 to 1: rates and weights."""

    def parse(text: str) -> int | float:
        value = type_(text)
        if not (min_integer <= value <= MAX_INTEGER if type_ is int else 0 <= value <= 1):
            raise argparse.ArgumentTypeError(f"must be {allowed}, not {text}")
        return value

    allowed = f"from {min_integer} to {MAX_INTEGER}" if type_ is int else "from 0 to 1"
    parse.__name__ = type_.__name__  # which argparse prints
    return parse


def _train(options: argparse.Namespace) -> None:
    config = options.config(**{field.name: getattr(options, field.name) for field in fields(options.config)})
    if options.dry_run:
        print(json.dumps(asdict(config), indent=2))
        return
    if os.environ.get("WORLD_SIZE", "1") != "1" and not options.distributed:
        raise InputError("only `train projected` takes several processes: start this training without torchrun")
    folder = options.train(config)
    if is_first_process():
        print(folder)


if __name__ == "__main__":
    sys.exit(main())
