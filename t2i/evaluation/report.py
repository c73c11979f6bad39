"""The figures in words: those of one model, and the tables of all that were measured, in the README and the cards."""

import json
from collections.abc import Callable
from pathlib import Path

from .. import registry, store
from ..errors import InputError

README = registry.WEIGHTS.parent / "README.md"
START, END = "<!-- figures -->", "<!-- /figures -->"
PUBLISHED = "published"
REMAKE = "`evaluate MODEL --data ZIP --json FILE` makes it anew"


def _percent(*values: float) -> str:
    return " / ".join(f"{100 * value:.1f}" for value in values) + " %"


def _three(values: dict, name: str, digits: int, scale: float = 1) -> str:
    """Of the pictures; in brackets of photos and of the worst case, from the same run."""
    worst = "mean_picture" if "mean_picture" in values else "shuffled"
    one, photos, none = (f"{scale * values[key][name]:.{digits}f}" for key in ("pictures", "photos", worst))
    return f"{one} ({photos}; {none})"


def _kid(f: dict) -> str:
    spread = f["fidelity"]["pictures"]["kid_deviation"]
    return _three(f["fidelity"], "kid", 1, 1000).replace(" (", f" ± {1000 * spread:.1f} (")


def _beside_floor(distances: dict) -> str:
    """KID of the pictures; in brackets of photos and of the floor, where there are photos of training classes."""
    told = [distances[key]["kid"] for key in ("pictures", "photos", "floor") if key in distances]
    one, *others = (f"{1000 * kid:.1f}" for kid in told)
    return f"{one} ({'; '.join(others)})"


def _species(f: dict) -> str:
    return f"{100 * f['scratch']['pictures']['class']:.1f} ({100 * f['scratch']['photos']['class']:.1f})"


def _halfway(f: dict, name: str, digits: int, scale: float = 1) -> str:
    halfway, captions = (f"{scale * f['halfway'][key][name]:.{digits}f}" for key in ("halfway", "captions"))
    return f"{halfway} ({captions})"


def _objective(f: dict) -> str:
    """With n of the paper's networks, or the side of the pictures of a model that has no n."""
    return f"{f['objective']}, " + (f"n = {f['width']}" if f["width"] else f"{f['size']} pixels")


def _length(f: dict) -> str:
    """Epochs, or steps, on the model's own data; and those before, on other data that training began with."""
    if "steps" in f:
        own, before, unit = f["steps"], f["steps_before"], " steps"
    else:
        own, before, unit = f["epochs"], f.get("epochs_before", {}), ""
    return ", after ".join([f"{own:,}{unit}", *(f"{n:,}{unit} on {data}" for data, n in before.items())])


def _trained(f: dict) -> str:
    hours = f["trained"]["seconds"] / 3600
    return f"{f['trained']['hardware']}, " + (f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min")


def _measured(f: dict) -> str:
    precision = f" ({f['precision']})" if "precision" in f else ""  # not told by figures of before
    return f"{f['pictures']} test pictures, {f['hardware']}{precision}, {f['seconds']} s"


def _diverse(f: dict, name: str) -> str:
    return f"{f['diversity']['seeds_of_a_caption'][name]:.2f} ({f['diversity']['photos_of_a_class'][name]:.2f})"


def _roc(f: dict, name: str) -> str:
    return f"{f['style'][name]['roc']:.2f} ({f['style'][name]['roc_of_captions']:.2f})"


def _redrawn(f: dict) -> str:
    return f"{100 * f['style']['redrawn']['share']:.0f}"


def _match(f: dict, name: str) -> str:
    return f"{f['match']['pictures'][name]:.2f} ({f['match']['photos'][name]:.2f})"


RETRIEVAL = {"flowers": "63.7 / 57.3 %, by inner product", "birds": "54.7 / 45.5 %, by inner product"}

# What a row is called, what was published for a data set, and how a model's figures fill it.
ROWS: list[tuple[str, dict[str, str], Callable[[dict], str]]] = [
    ("objective", {}, _objective),
    ("epochs", {"flowers": "600", "birds": "600"}, _length),
    ("trained on", {}, _trained),
    ("retrieval, top-1 / AP@50, cosine", RETRIEVAL, lambda f: _percent(f["retrieval"]["top1"], f["retrieval"]["ap50"])),
    ("the same, centred", {}, lambda f: _percent(f["retrieval"]["top1_centred"], f["retrieval"]["ap50_centred"])),
    ("KID × 1000 (photos; mean picture)", {}, _kid),
    ("the floor: photos of the training classes", {}, lambda f: f"{1000 * f['fidelity']['floor']['kid']:.1f}"),
    ("KID × 1000 at the size drawn (photos; floor)", {}, lambda f: _beside_floor(f["fidelity"]["at_size"])),
    ("Fréchet distance (photos; mean picture)", {}, lambda f: _three(f["fidelity"], "frechet", 0)),
    ("its floor", {}, lambda f: f"{f['fidelity']['floor']['frechet']:.0f}"),
    ("KID × 1000 by a classifier from scratch (photos; floor)", {}, lambda f: _beside_floor(f["scratch"])),
    ("pictures that it gives to their species of the test split, % (photos held out)", {}, _species),
    ("photos held out that it gives to theirs of all, %", {}, lambda f: f"{100 * f['scratch']['accuracy']:.1f}"),
    ("R-precision, % (photos; shuffled)", {}, lambda f: _three(f["agreement"], "r_precision", 1, 100)),
    ("class by captions, % (photos; shuffled)", {}, lambda f: _three(f["agreement"], "class_top1", 1, 100)),
    ("right caption against a wrong one, ROC area, image encoder (photos)", {}, lambda f: _match(f, "image_encoder")),
    ("the same, D (photos)", {}, lambda f: _match(f, "discriminator")),
    ("difference of seeds, in features (photos of a class)", {}, lambda f: _diverse(f, "features")),
    ("difference of seeds, in pixels (photos of a class)", {}, lambda f: _diverse(f, "pixels")),
    ("halfway between captions: KID × 1000 (captions)", {}, lambda f: _halfway(f, "kid", 1, 1000)),
    ("difference of seeds there, in features (captions)", {}, lambda f: _halfway(f, "seeds", 2)),
    ("where seeds hardly differ, % (captions)", {}, lambda f: _halfway(f, "alike", 1, 100)),
    ("cycle error of S", {}, lambda f: f"{f['style']['cycle_error']:.2f}"),
    ("along the style sliders", {}, lambda f: f"{f['style']['cycle_error_of_directions']:.2f}"),
    ("difference of a picture and its redrawing, % of that of seeds", {}, _redrawn),
    ("style ROC, background (captions alone)", {}, lambda f: _roc(f, "background")),
    ("style ROC, pose (captions alone)", {}, lambda f: _roc(f, "pose")),
    ("measured on", {}, _measured),
]


def read(path: Path) -> dict:
    """The figures in an evaluation.json; `InputError` if it is torn or not what `evaluate` writes."""
    try:
        figures = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        raise InputError(f"{path}: is no JSON; {REMAKE}") from None
    try:
        if not isinstance(figures["model"], str) or not isinstance(figures["data"], str):
            raise TypeError
        for _, _, fill in ROWS:
            _cell(fill, figures)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"{path}: is not what `evaluate --json` writes; {REMAKE}") from None
    return figures


def lines(figures: dict) -> str:
    """The figures of one model, a line each, and what was left out."""
    told = [f"{figures['model']} on {figures['data']}"]
    told += [f"  {name}: {cell}" for name, _, fill in ROWS if (cell := _cell(fill, figures)) != "–"]
    told += [f"  left out: {name} {reason}" for name, reason in figures["left_out"].items()]
    return "\n".join(told)


def table(found: list[dict]) -> str:
    """Markdown: a column a model, a row a measure, what was published beside it."""
    published = [next((told[data] for data in told if data in found[0]["data"]), "") for _, told, _ in ROWS]
    rows = [["", *(f["model"] for f in found), PUBLISHED], ["---"] * (len(found) + 2)]
    for (name, _, fill), other in zip(ROWS, published):
        cells = [_cell(fill, figures) for figures in found]
        if any(cell != "–" for cell in cells):
            rows.append([name, *cells, other])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write(readme: Path = README, weights: Path = registry.WEIGHTS) -> list[Path]:
    """Write the tables of `weights/*/evaluation.json` between two marks; returns the files that hold them.

    The README has all, one a data set; beside the figures, a card that has the marks has its model's own.
    """
    found = {path.parent / "README.md": read(path) for path in sorted(weights.glob("*/evaluation.json"))}
    if not found:
        raise InputError(f"{weights}: holds no evaluation.json; `evaluate MODEL --data ZIP --json FILE` writes one")
    sets = {f["data"]: [other for other in found.values() if other["data"] == f["data"]] for f in found.values()}
    tables = {card: [table([figures])] for card, figures in found.items() if _has_mark(card)}
    tables[readme] = [table(models) for models in sets.values()]
    pages = {page: _filled(page, parts) for page, parts in tables.items()}
    for page, text in pages.items():
        store.write(page, lambda path, text=text: path.write_text(text, "utf-8"))
    return list(pages)


def _has_mark(page: Path) -> bool:
    text = page.read_text("utf-8") if page.is_file() else ""
    return START in text or END in text


def _filled(page: Path, tables: list[str]) -> str:
    """A page's text with these tables between its marks."""
    text = page.read_text("utf-8")
    if not (text.count(START) == text.count(END) == 1 and text.index(START) < text.index(END)):
        raise InputError(f"{page}: must have the line {START} and, after it, the line {END}, once")
    before, after = text.partition(START)[0], text.partition(END)[2]
    return before + "\n\n".join([START, *tables, END]) + after


def _cell(fill: Callable[[dict], str], figures: dict) -> str:
    try:
        return fill(figures)
    except KeyError:
        return "–"
