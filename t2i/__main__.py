"""The command line: `python -m t2i draw`, `blend`, `wander`, `restyle`, `search`, `describe`, …: see `--help`."""

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image

from . import InputError, Studio, load, locate, store
from .device import use_cores
from .media import export
from .media.photo import ENCODER_INPUT_SIZE, open_photo, prepare

MOST = 256  # pictures of a caption
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")  # looked for in folders
LARGEST = 2**31 - 1  # number of a training, a seed or a size
# Of an option, else 1: four pictures are two pairs of captions to interpolate, and a bottleneck is a quarter of 2 n.
LEAST = {"seed": 0, "batch": 4, "width": 2}
BENCHES = ("engine", "crowd", "screen", "training")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} ({self.prog} --help tells more)")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 for a mistake of the user (told in one line), 130 for Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = _parser(arguments).parse_args(arguments)
        use_cores()
        options.run(options)
        return 0
    except InputError as error:
        message, code = str(error), 2
    except OSError as error:
        path = error.filename2 or error.filename  # of a rename, the second is the one asked for
        message, code = f"{path}: {error.strerror}" if path else str(error), 2
    except KeyboardInterrupt:
        message, code = "stopped; a training goes on from its last saved epoch when started again", 130
    print("t2i:", " ".join(message.split()), file=sys.stderr)  # here the progress bar has ended its line
    return code


def _parser(arguments: list[str]) -> _Parser:
    parser = _Parser(prog="python -m t2i", description="Generative Adversarial Text to Image Synthesis")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    draw = _add(commands, _draw, "draw", "draw captions into a PNG sheet, a row each", out="grid.png")
    draw.add_argument("captions", nargs="+", metavar="CAPTION")
    draw.add_argument("--seed", type=int, default=0, help="of the first picture (default: %(default)s)")
    draw.add_argument("--count", type=int, default=16, help="pictures of a caption (default: %(default)s)")
    blend = _add(commands, _blend, "blend", "go from one caption to another (GAN-INT)", out="blend.gif", film=True)
    blend.add_argument("captions", nargs=2, metavar="CAPTION")
    blend.add_argument("--seed", type=int, default=0, help="of every picture (default: %(default)s)")
    wander = _add(commands, _wander, "wander", "go from one seed to another", out="wander.gif", film=True)
    wander.add_argument("caption", metavar="CAPTION")
    wander.add_argument("--seed", type=int, default=0, help="where it begins (default: %(default)s)")
    wander.add_argument("--to", type=int, default=1, help="the seed where it ends (default: %(default)s)")
    restyle = _add(commands, _restyle, "restyle", "paint captions in the styles of photos", out="styles.png")
    restyle.add_argument("captions", nargs="+", metavar="CAPTION")
    restyle.add_argument("--photo", nargs="+", type=Path, required=True, help="a row each")
    search = commands.add_parser("search", help="find the photos that fit a caption")
    search.add_argument("caption", metavar="CAPTION")
    search.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="pictures, and folders of pictures")
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
    evaluate.add_argument("--json", type=Path, help="write the figures here (one model)")
    evaluate.add_argument("--sheet", type=Path, help="instead of measuring, draw eight captions by the models: a PNG")
    evaluate.add_argument("--table", action="store_true", help="write the tables of weights/*/evaluation.json")
    evaluate.set_defaults(run=_evaluate)
    bench = commands.add_parser("bench", help="measure how fast a model is on this machine")
    told = "the engine, a crowd that types, the page in a browser, or a step of training (default: %(default)s)"
    bench.add_argument("what", nargs="?", default=BENCHES[0], choices=BENCHES, help=told)
    bench.add_argument("--model", help="a name, a folder or a Hub id (default: flowers); not for training")
    bench.add_argument("--json", type=Path, help="write the figures here")
    bench.set_defaults(run=_bench)
    publish = commands.add_parser("publish", help="send a model's folder, or this repository as a Space, to the Hub")
    publish.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="of the model")
    publish.add_argument("hub_id", metavar="OWNER/NAME")
    publish.add_argument("--space", action="store_true", help="what the page needs, instead of a model")
    publish.add_argument("--dry-run", action="store_true", help="list the files and their bytes, and stop")
    publish.set_defaults(run=_publish)
    train = commands.add_parser("train", help="train a network: text, then gan, image and style")
    if arguments[:1] == ["train"]:  # the training's packages are wanted for nothing else
        _add_trainings(train)
    return parser


def _add(commands, run: Callable, name: str, told: str, out: str, film: bool = False) -> argparse.ArgumentParser:
    """A command that makes a picture, with the options that all of them have."""
    parser = commands.add_parser(name, help=told)
    parser.add_argument("--model", default="flowers", help="a name, a folder or a Hub id (default: %(default)s)")
    if film:
        parser.add_argument("--steps", type=int, default=17, help="pictures of the way (default: %(default)s)")
    kinds = "the film, by its ending a .gif, .webp or .mp4 of at least 256×256, or a .png sheet" if film else "the PNG"
    parser.add_argument("--out", type=Path, default=Path(out), help=f"{kinds} (default: %(default)s)")
    parser.set_defaults(run=run)
    return parser


def _draw(options: argparse.Namespace) -> None:
    if not 1 <= options.count <= MOST:
        raise InputError(f"--count must be from 1 to {MOST}, not {options.count}")
    _check_png("--out", options.out)
    studio, captions = _studio(options), _clean(options.captions)
    seeds = range(options.seed, options.seed + options.count)
    pictures = np.stack([studio.draw_array(caption, seeds) for caption in captions])
    if len(captions) == 1:
        pictures = export.grid(pictures[0])
    made = {"captions": captions, "seed": options.seed, "count": options.count, "model": options.model}
    _write(options.out, export.png(export.sheet(pictures), made))


def _blend(options: argparse.Namespace) -> None:
    studio, captions = _studio(options), _clean(options.captions)
    made = {"captions": captions, "seed": options.seed, "steps": options.steps, "model": options.model}
    _write_film(options.out, studio.blend(*captions, options.steps, options.seed), made)


def _wander(options: argparse.Namespace) -> None:
    studio, [caption] = _studio(options), _clean([options.caption])
    ends = {"seed": options.seed, "to": options.to}
    made = {"captions": [caption], **ends, "steps": options.steps, "model": options.model}
    _write_film(options.out, studio.wander(caption, *ends.values(), options.steps), made)


def _restyle(options: argparse.Namespace) -> None:
    _check_png("--out", options.out)
    studio, captions = _studio(options), _clean(options.captions)
    photos = [_square_of(path, max(ENCODER_INPUT_SIZE, studio.size)) for path in options.photo]
    rows = [
        np.stack([export.resize(photo, studio.size), *studio.restyle_array(Image.fromarray(photo), captions)])
        for photo in photos
    ]
    made = {"captions": captions, "photos": [path.name for path in options.photo], "model": options.model}
    _write(options.out, export.png(export.sheet(np.stack(rows)), made))


def _search(options: argparse.Namespace) -> None:
    if options.count < 1:
        raise InputError(f"--count must be from 1, not {options.count}")
    paths = []
    for path in options.photos:
        paths += sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURES) if path.is_dir() else [path]
    if not paths:
        raise InputError(f"{options.photos[0]}: holds no pictures ({', '.join(PICTURES)})")
    [caption], studio = _clean([options.caption]), load(options.model)
    seen = dict(_seen(paths, named=set(options.photos)))
    if not seen:
        raise InputError("none of these pictures can be read")
    paths = list(seen)
    for place, score in studio.search(caption, studio.index(list(seen.values())), options.count):
        print(f"{score:.3f}  {paths[place]}")


def _seen(paths: list[Path], named: set[Path]) -> Iterator[tuple[Path, Image.Image]]:
    """What the networks see of each; of those not named one by one, the unreadable are told and left out."""
    for path in paths:
        try:
            yield path, Image.fromarray(_square_of(path))
        except InputError as error:
            if path in named:
                raise
            print(f"left out: {error}", file=sys.stderr)


def _describe(options: argparse.Namespace) -> None:
    photo = Image.fromarray(_square_of(options.photo))
    for caption, score in load(options.model).describe(photo, _clean(options.captions)):
        print(f"{score:.3f}  {caption}")


def _square_of(path: Path, side: int = ENCODER_INPUT_SIZE) -> np.ndarray:
    """The central square of a photo, (side, side, 3)."""
    photo = open_photo(path)
    try:
        return prepare(photo, side)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _studio(options: argparse.Namespace) -> Studio:
    """The model, once it is clear that there is a file to write to."""
    if not options.out.name:
        raise InputError("--out must name a file")
    return load(options.model)


def _check_png(option: str, path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise InputError(f"{option} must name a file that ends in .png, not {str(path)!r}")


def _clean(captions: list[str]) -> list[str]:
    """Without the lone surrogates that stand for undecodable bytes of a command line."""
    return [caption.encode("utf-8", "replace").decode() for caption in captions]


def _write_film(path: Path, pictures: list[Image.Image], made: dict) -> None:
    _write(path, export.film(np.stack([np.asarray(picture) for picture in pictures]), path.suffix.lower(), made))


def _write(path: Path, data: bytes) -> None:
    store.write(path, lambda partial: partial.write_bytes(data))
    print(path)


def _evaluate(options: argparse.Namespace) -> None:
    from .evaluation import report

    if options.table:
        return print(*report.write(), sep="\n")
    if not options.models or not options.data:
        raise InputError("evaluate needs a MODEL and --data, or --table alone")
    if options.json and len(options.models) > 1:
        raise InputError(f"--json holds the figures of one model, not of {len(options.models)}")
    try:
        from .evaluation import run, sheet
    except ModuleNotFoundError as error:
        raise InputError(f"evaluation needs {error.name}: pip install -r requirements-train.txt") from None
    if options.sheet:
        _check_png("--sheet", options.sheet)
        return _write(options.sheet, sheet.comparison(options.models, options.data, options.seed))
    for model in options.models:
        figures = run.evaluate(run.Evaluation(model, options.data, options.judge, options.seed))
        print(report.lines(figures))
        if options.json:
            _write(options.json, (json.dumps(figures, indent=1) + "\n").encode())


def _bench(options: argparse.Namespace) -> None:
    try:
        bench = importlib.import_module(f".bench.{options.what}", __package__)
    except ModuleNotFoundError as error:
        raise InputError(f"this benchmark needs {error.name}: pip install -r requirements-dev.txt") from None
    if options.what == "training" and options.model:
        raise InputError("bench training measures the trainers: it takes no --model")
    figures = bench.run() if options.what == "training" else bench.run(options.model or "flowers")
    print(bench.table(figures))
    if options.json:
        _write(options.json, (json.dumps(figures, indent=1) + "\n").encode())


def _publish(options: argparse.Namespace) -> None:
    from . import publish  # slow to import

    if options.space == bool(options.folder):
        raise InputError("publish needs either FOLDER or --space")
    if not locate.HUB_ID.fullmatch(options.hub_id) or "@" in options.hub_id:
        raise InputError(f"{options.hub_id!r} is no id of the Hub: it must read owner/name")
    files = publish.space_files() if options.space else publish.model_files(options.folder)
    print(publish.list_files(files))
    if not options.dry_run:
        print(publish.upload(files, options.hub_id, options.space))


def _add_trainings(train: argparse.ArgumentParser) -> None:
    """An option for each field of the trainings' configurations."""
    try:
        from .training import image, paper, projected, style, text
    except ModuleNotFoundError as error:
        raise InputError(f"training needs {error.name}: pip install -r requirements-train.txt") from None
    trainings = train.add_subparsers(required=True, metavar="NETWORK")
    for name, run, config in (
        ("text", text.train, text.TextTraining),
        ("projected", projected.train, projected.ProjectedTraining),
        ("gan", paper.train, paper.GanTraining),
        ("image", image.train, image.ImageTraining),
        ("style", style.train, style.StyleTraining),
    ):
        parser = trainings.add_parser(name, help=config.__doc__)
        for field in fields(config):
            required = field.default is MISSING
            if field.type is bool:
                kind = {"action": argparse.BooleanOptionalAction}
            else:
                kind = {"type": _number(field.type, LEAST.get(field.name, 1)) if field.type is not str else str}
            parser.add_argument(
                f"--{field.name}",
                **kind,
                required=required,
                default=None if required else field.default,
                help=None if required else "(default: %(default)s)",
            )
        parser.add_argument("--dry-run", action="store_true", help="print the configuration as JSON and stop")
        parser.set_defaults(run=_train, train=run, config=config)


def _number(kind: type, least: int) -> Callable[[str], int | float]:
    """A parser of whole numbers from `least` to `LARGEST`, or of fractions from 0 to 1: rates and decays."""

    def parse(text: str) -> int | float:
        value = kind(text)
        if not (least <= value <= LARGEST if kind is int else 0 <= value <= 1):
            raise argparse.ArgumentTypeError(f"must be {allowed}, not {text}")
        return value

    allowed = f"from {least} to {LARGEST}" if kind is int else "from 0 to 1"
    parse.__name__ = kind.__name__  # argparse tells it
    return parse


def _train(options: argparse.Namespace) -> None:
    config = options.config(**{field.name: getattr(options, field.name) for field in fields(options.config)})
    if options.dry_run:
        print(json.dumps(asdict(config), indent=2))
    else:
        print(options.train(config))


if __name__ == "__main__":
    sys.exit(main())
