"""The command line: `python -m t2i draw`, `train text`, `train gan`."""

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image, PngImagePlugin

from . import InputError, checkpoint, load

MOST = 256  # pictures of a caption
GUTTER = 2  # pixels between pictures


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} ({self.prog} --help tells more)")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 for a mistake of the user (told in one line), 130 for Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = _parser(arguments).parse_args(arguments)
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
    draw = commands.add_parser("draw", help="draw captions into a PNG sheet, a row each")
    draw.add_argument("captions", nargs="+", metavar="CAPTION")
    draw.add_argument("--model", default="flowers", help="a name, a folder or a Hub id (default: %(default)s)")
    draw.add_argument("--seed", type=int, default=0, help="of the first picture (default: %(default)s)")
    draw.add_argument("--count", type=int, default=16, help="pictures of a caption (default: %(default)s)")
    draw.add_argument("--out", type=Path, default=Path("grid.png"), help="the PNG (default: %(default)s)")
    draw.set_defaults(run=_draw)
    train = commands.add_parser("train", help="train a network: text, then gan, then style")
    if arguments[:1] == ["train"]:  # the training's packages are wanted for nothing else
        _add_trainings(train)
    return parser


def _draw(options: argparse.Namespace) -> None:
    if not 1 <= options.count <= MOST:
        raise InputError(f"--count must be from 1 to {MOST}, not {options.count}")
    if not options.out.name:
        raise InputError("--out must name a file")
    studio = load(options.model)
    captions = [caption.encode("utf-8", "replace").decode() for caption in options.captions]
    seeds = range(options.seed, options.seed + options.count)
    pictures = np.stack([studio.draw_array(caption, seeds) for caption in captions])
    if len(captions) == 1:
        pictures = _square(pictures[0])
    made = {"captions": captions, "seed": options.seed, "count": options.count, "model": options.model}
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt("Description", "\n".join(captions))
    notes.add_itxt("t2i", json.dumps(made))
    sheet = Image.fromarray(_sheet(pictures))
    checkpoint.write(options.out, lambda path: sheet.save(path, "PNG", pnginfo=notes))
    print(options.out)


def _square(pictures: np.ndarray) -> np.ndarray:
    """Pictures (N, H, W, 3) laid out in rows (R, C, H, W, 3), about as many as columns; the rest is white."""
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    missing = rows * columns - len(pictures)
    padded = np.pad(pictures, ((0, missing), (0, 0), (0, 0), (0, 0)), constant_values=255)
    return padded.reshape(rows, columns, *pictures.shape[1:])


def _sheet(pictures: np.ndarray) -> np.ndarray:
    """Rows of pictures (R, C, H, W, 3) as one (R (H + 2) + 2, C (W + 2) + 2, 3), white between them."""
    around = ((0, 0), (0, 0), (GUTTER, 0), (GUTTER, 0), (0, 0))
    framed = np.pad(pictures, around, constant_values=255).swapaxes(1, 2)
    sheet = framed.reshape(framed.shape[0] * framed.shape[1], -1, 3)
    return np.pad(sheet, ((0, GUTTER), (0, GUTTER), (0, 0)), constant_values=255)


def _add_trainings(train: argparse.ArgumentParser) -> None:
    """An option for each field of the two trainings' configurations."""
    try:
        from .training import gan, style_encoder, text_encoder
    except ModuleNotFoundError as error:
        raise InputError(f"training needs {error.name}: pip install -r requirements-train.txt") from None
    trainings = train.add_subparsers(required=True, metavar="NETWORK")
    for name, run, config in (
        ("text", text_encoder.train, text_encoder.TextTraining),
        ("gan", gan.train, gan.GanTraining),
        ("style", style_encoder.train, style_encoder.StyleTraining),
    ):
        parser = trainings.add_parser(name, help=config.__doc__)
        for field in fields(config):
            required = field.default is MISSING
            parser.add_argument(
                f"--{field.name}",
                type=_number(field.type, 0 if field.name == "seed" else 1) if field.type is not str else str,
                required=required,
                default=None if required else field.default,
                help=None if required else "(default: %(default)s)",
            )
        parser.add_argument("--dry-run", action="store_true", help="print the configuration as JSON and stop")
        parser.set_defaults(run=_train, train=run, config=config)


def _number(kind: type, least: int) -> Callable[[str], int | float]:
    """A parser of whole numbers from `least`, or of fractions from 0 to 1: rates and decays."""

    def parse(text: str) -> int | float:
        value = kind(text)
        if not (value >= least if kind is int else 0 <= value <= 1):
            raise argparse.ArgumentTypeError(f"must be {allowed}, not {text}")
        return value

    allowed = f"from {least}" if kind is int else "from 0 to 1"
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
