"""How much faster the engine is than the plain networks in float32: `python -m examples.speed [MODEL]`.

Both take turns in one run, so that a busy machine slows both; medians.
"""

import statistics
import sys
import time

import numpy as np
import torch
from torch import Tensor

from t2i import checkpoint, noise
from t2i.engine import Engine
from t2i.models import encode

CAPTION = "this flower has pink petals and a yellow center"
ROUNDS, WARM_UP = 30, 3


@torch.inference_mode()
def main(model: str = "flowers") -> None:
    networks = checkpoint.read(checkpoint.resolve(model), "text_encoder", "generator")
    engine = Engine(networks)
    text, generator = (network.to(engine.device) for network in networks.values())

    def plain(z: Tensor, caption: str) -> np.ndarray:
        h = text(encode([caption]).to(engine.device)).expand(len(z), -1)
        return (generator(z.to(engine.device), h) * 127.5 + 128).byte().permute(0, 2, 3, 1).cpu().numpy()

    def fast(z: Tensor, caption: str) -> np.ndarray:
        return engine.render(z, engine.embed([caption]).expand(len(z), -1))

    print(f"{model} on {engine.device}, {engine.dtype}, threads: {torch.get_num_threads()}; median milliseconds")
    for batch in (1, 16):
        for what, caption in ("a known caption", "{}"), ("a new caption", "{} {}"):  # the engine remembers captions
            times = [], []
            for number in range(WARM_UP + ROUNDS):
                for draw, taken in zip((plain, fast), times):
                    start = time.perf_counter()
                    draw(noise(range(batch)), caption.format(CAPTION, number))
                    taken.append(1000 * (time.perf_counter() - start))
            a, b = (statistics.median(taken[WARM_UP:]) for taken in times)
            print(f"{batch:2} of {what}: plain {a:.1f}, engine {b:.1f}, {a / b:.2f} times as fast")


if __name__ == "__main__":
    main(*sys.argv[1:])
