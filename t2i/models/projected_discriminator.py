"""Projected discriminator: heads on frozen, randomly mixed features (Sauer et al. 2021), and two networks on pixels.

Only training needs it. It takes feature maps and does not know which network computed them.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate
from torch.nn.utils.parametrizations import spectral_norm

# Of the mixed maps: if they are narrower than the features, heads can hardly tell real from generated pictures.
MIXED_CHANNELS = (64, 128, 256, 512)
MAP_SIDES = (16, 8, 4, 2)  # of the maps of a 64×64 view
HEAD_CHANNELS = 64


class RandomMixing(nn.Module):
    """Maps (B, C, S, S), fine to coarse, mixed across channels and from coarse to fine by frozen random weights."""

    def __init__(self, channels: list[int]):
        super().__init__()
        self.across_channels = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(channels, MIXED_CHANNELS))
        scales = zip(MIXED_CHANNELS, MIXED_CHANNELS[1:])
        self.across_scales = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in scales)
        for convolution in (*self.across_channels, *self.across_scales):
            nn.init.kaiming_normal_(convolution.weight, a=1.0)
            nn.init.zeros_(convolution.bias)
        self.requires_grad_(False)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        mixed = [convolution(m) for convolution, m in zip(self.across_channels, maps)]
        for i in reversed(range(len(mixed) - 1)):
            mixed[i] = mixed[i] + interpolate(self.across_scales[i](mixed[i + 1]), scale_factor=2.0)
        return mixed


class Head(nn.Module):
    """Scores each position of a mixed map (B, C, S, S): is the picture real, and does it match the caption?"""

    def __init__(self, channels: int, side: int, embedding: int):
        super().__init__()
        layers: list[nn.Module] = []
        while side > 4:
            layers += [spectral_norm(nn.Conv2d(channels, HEAD_CHANNELS, 4, 2, 1)), nn.LeakyReLU(0.2)]
            channels, side = HEAD_CHANNELS, side // 2
        layers += [spectral_norm(nn.Conv2d(channels, HEAD_CHANNELS, 3, padding=1)), nn.LeakyReLU(0.2)]
        self.trunk = nn.Sequential(*layers)  # 4×4×64, or 2×2×64
        self.unconditional = spectral_norm(nn.Conv2d(HEAD_CHANNELS, 1, 1))
        self.project = nn.Sequential(nn.Linear(embedding, HEAD_CHANNELS), nn.LeakyReLU(0.2))
        self.conditional = nn.Sequential(
            spectral_norm(nn.Conv2d(2 * HEAD_CHANNELS, HEAD_CHANNELS, 1)), nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(HEAD_CHANNELS, 1, 1)),
        )  # fmt: skip

    def score(self, x: Tensor, h: Tensor | None) -> Tensor:
        """Scores (B, positions) of the output x of `trunk`; with embeddings h (B, E), of its match with them."""
        if h is None:
            return self.unconditional(x).flatten(1)
        text = self.project(h)[..., None, None].expand(-1, -1, *x.shape[2:])
        return self.conditional(torch.cat([x, text], 1)).flatten(1)


class ProjectedDiscriminator(nn.Module):
    """A head for each of four feature maps of each of two views of a picture. Scores are logits for a hinge loss."""

    def __init__(self, channels: list[int], embedding: int, views: int = 2):
        super().__init__()
        self.mixing = nn.ModuleList(RandomMixing(channels) for _ in range(views))
        self.heads = nn.ModuleList(
            nn.ModuleList(Head(c, side, embedding) for c, side in zip(MIXED_CHANNELS, MAP_SIDES)) for _ in range(views)
        )

    def mix(self, views: list[list[Tensor]]) -> list[Tensor]:
        """The mixed maps of all views, in one list."""
        return [m for mixing, maps in zip(self.mixing, views) for m in mixing(maps)]

    def trunks(self, mixed: list[Tensor]) -> list[Tensor]:
        """The trunks' outputs for mixed maps, which serve scores with and without captions."""
        return [head.trunk(m) for head, m in zip(self._all_heads(), mixed)]

    def scores(self, features: list[Tensor], h: Tensor | None = None) -> Tensor:
        """Scores (B, positions) of the trunks' outputs: real or not; with h (B, E), matching the caption or not."""
        return torch.cat([head.score(x, h) for head, x in zip(self._all_heads(), features)], 1).float()

    def _all_heads(self) -> list[Head]:
        return [module for module in self.heads.modules() if isinstance(module, Head)]


class PixelDiscriminator(nn.Module):
    """Scores pixels (B, 3, 64, 64) by two networks trained from scratch, for artefacts that ImageNet features miss.

    One gets the whole picture at 64×64. The other gets a window at full resolution minus its 3×3 mean, that is, fine
    texture: features of stride 4 and more do not notice halftone dots and crossing strokes. Neither has spectral norm:
    with it the second learns nothing.
    """

    def __init__(self):
        super().__init__()

        def down(a: int, b: int) -> list[nn.Module]:
            return [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.GroupNorm(8, b), nn.LeakyReLU(0.2)]

        self.whole = nn.Sequential(  # 64×64×3
            nn.Conv2d(3, 32, 4, 2, 1), nn.LeakyReLU(0.2),  # 32×32×32
            *down(32, 64),  # 16×16×64
            *down(64, 128),  # 8×8×128
            *down(128, 256),  # 4×4×256
            nn.Conv2d(256, 1, 3, padding=1),  # 4×4×1
        )  # fmt: skip
        self.detail = nn.Sequential(  # 64×64×3
            nn.Conv2d(3, 48, 4, 2, 1), nn.LeakyReLU(0.2),  # 32×32×48
            *down(48, 96),  # 16×16×96
            nn.Conv2d(96, 128, 3, 1, 1, bias=False), nn.GroupNorm(8, 128), nn.LeakyReLU(0.2),  # 16×16×128
            nn.Conv2d(128, 1, 1),  # 16×16×1
        )  # fmt: skip

    def forward(self, whole: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, 16) of the whole and (B, 256) of the window."""
        fine = 6 * (window - avg_pool2d(window, 3, 1, 1, count_include_pad=False))  # std about 1
        return self.whole(whole).flatten(1).float(), self.detail(fine).flatten(1).float()
