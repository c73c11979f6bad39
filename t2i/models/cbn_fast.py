"""The fast form of the CBN generator, for inference."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from . import fuse
from .cbn_generator import MAX_REFINED_SIDE, SLOPE, CBNGenerator, ConditionalNorm, Upsample, folded_first_layer


class FastCBNGenerator(nn.Module):
    """z, h to pixels (B, S, S, 3), uint8: batch statistics are folded into the layers before them.

    Of a conditional norm only its scale and shift are left. What depends on the caption alone is computed for each
    picture: caching it would save 0.1 ms a batch, whatever its size.
    """

    def __init__(self, generator: CBNGenerator, place: Callable[..., nn.Sequential]):
        super().__init__()
        config, draw = generator.config, generator.draw
        joint, side, channels = config.noise + config.projected, 4, config.channels[0]
        first = [folded_first_layer(generator), nn.Unflatten(1, (4, 4, channels)), fuse.ToNCHW()]
        conditional, rest = [place(nn.Sequential(*first), joint)], []
        for layer, norm in zip(draw[1::2], draw[2::2]):
            convolution = transposed_layer(layer) if isinstance(layer, Upsample) else layer
            [folded] = fuse.fold(nn.Sequential(convolution, norm.get_submodule("norm")))
            if isinstance(norm, ConditionalNorm):
                conditional.append(place(nn.Sequential(folded), channels, side, side))
                assert isinstance(folded, nn.Conv2d | nn.ConvTranspose2d)
                side, channels = side * folded.stride[0], folded.out_channels
            else:
                rest += [folded, nn.LeakyReLU(SLOPE)]
        to_rgb, tanh = fuse.to_subpixels(generator.to_rgb[0]), generator.to_rgb[1]
        if config.size > MAX_REFINED_SIDE:  # the last upsampling and `to_rgb` on subpixels: a third less time
            rest[-2:] = fuse.transposed_to_subpixels(rest[-2]), rest[-1], fuse.ZeroEdges()
            to_rgb = fuse.from_subpixels(to_rgb)
        norms = [norm for norm in draw if isinstance(norm, ConditionalNorm)]
        self.sizes = [norm.norm.num_features for norm in norms for _ in ("scale", "shift")]
        self.project = place(generator.project, config.embedding)
        self.affine = place(nn.Sequential(*generator.map, joint_affine(norms)), joint)
        self.conditional = nn.ModuleList(conditional)
        self.rest = place(nn.Sequential(*rest, to_rgb, tanh), channels, side, side)

    def forward(self, z: Tensor, h: Tensor) -> Tensor:
        x = torch.cat([z, self.project(h)], 1)
        affine = self.affine(x)[..., None, None].split(self.sizes, 1)
        for layer, scale, shift in zip(self.conditional, affine[::2], affine[1::2]):
            x = leaky_relu(torch.addcmul(shift, layer(x), scale), SLOPE, inplace=True)
        return fuse.pixel_shuffle(fuse.to_bytes(self.rest(x)))


def transposed_layer(layer: Upsample) -> nn.ConvTranspose2d:
    in_channels, out_channels = layer.weight.shape[:2]
    transposed = nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1, bias=False, device="meta")
    transposed.weight = nn.Parameter(layer.transposed_kernel(), False)
    return transposed.eval()


def joint_affine(norms: list[ConditionalNorm]) -> nn.Linear:
    """One layer for the factors (1 + scale) and shifts of all conditional norms."""
    weight, bias = (torch.cat([getattr(norm.affine, name) for norm in norms]) for name in ("weight", "bias"))
    ones = [torch.tensor([1.0, 0.0]).repeat_interleave(norm.norm.num_features) for norm in norms]  # 1 + scale
    return fuse.linear(weight, bias + torch.cat(ones))
