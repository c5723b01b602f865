"""Networks that nobody here wrote, with random weights and small inputs: of pytorchcv, transformers and torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

os.environ["HF_HUB_OFFLINE"] = "1"  # configurations only, nothing is fetched

import torch
from pytorchcv.model_provider import get_model
from torch import nn

from hasten.split.inputs import Inputs

CLASSES = 10
PIXELS = (3, 64, 64)


@dataclass(frozen=True)
class Architecture:
    """How to make a network, the layers that get exits, and the inputs that it takes."""

    make: Callable[[], nn.Module]
    at: tuple[str, ...]
    shape: tuple[int, ...] = PIXELS
    vocabulary: int = 0
    """Inputs are tokens below this; 0: floats."""
    other: Callable[[torch.Tensor], dict[str, torch.Tensor]] | None = None
    """All inputs by name, made of the first; None: there is one."""

    def inputs(self, count: int) -> Inputs:
        """``count`` inputs (count, *shape), or several by their names."""
        shape = (count, *self.shape)
        first = torch.randint(1, self.vocabulary, shape) if self.vocabulary else torch.rand(shape)
        if self.other is None:
            return first.numpy()
        return {name: tensor.numpy() for name, tensor in self.other(first).items()}


def pictures(name: str, **options: object) -> Callable[[], nn.Module]:
    """A network of pytorchcv, with its last pooling taking maps of any size."""

    def make() -> nn.Module:
        network = get_model(name, num_classes=CLASSES, **options)
        for part in (network.features, network.output):
            if isinstance(getattr(part, "final_pool", None), nn.AvgPool2d):
                part.final_pool = nn.AdaptiveAvgPool2d(1)
        return network

    return make


def hugging(name: str, **options: object) -> Callable[[], nn.Module]:
    """A network of transformers, from its configuration alone."""

    def make() -> nn.Module:
        import transformers  # takes a second, and most of the workers never make one

        config = getattr(transformers, f"{name.partition('For')[0]}Config")
        return getattr(transformers, name)(config(num_labels=CLASSES, **options))

    return make


ATTENTION = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}


class Spectrogram(nn.Module):
    """A spectrogram in front of the Audio Spectrogram Transformer: samples (N, time) go in."""

    def __init__(self, frames: int = 64, bins: int = 33, **options: int) -> None:
        super().__init__()
        self.frames, self.bins = frames, bins
        self.register_buffer("window", torch.hann_window(2 * bins - 2), persistent=False)
        options = {**ATTENTION, **options, "max_length": frames, "num_mel_bins": bins}
        self.network = hugging("ASTForAudioClassification", **options)()

    def forward(self, samples: torch.Tensor) -> object:
        """The transformer's answer."""
        step = self.bins - 1
        found = torch.stft(samples, 2 * step, step, window=self.window, return_complex=True).abs()
        return self.network(torch.log(found + 1e-3)[:, :, : self.frames].transpose(1, 2))


class Pooled(nn.Module):
    """A body that gives (N, H, W, C) or (N, tokens, C) and a linear layer behind it."""

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body, self.classify = body, nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, classes)."""
        found = self.body(x)
        found = found if isinstance(found, torch.Tensor) else found[0]
        return self.classify(found.flatten(1, -2).mean(1))


def fused_encoder(width: int = 32) -> nn.Module:
    """torch's encoder, which in eval mode is one fused operation a layer."""
    layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True)
    return Pooled(nn.TransformerEncoder(layer, 4), width)


class Recurrent(nn.Module):
    """Convolutions over time, then torch's LSTM and GRU."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, width, 5, 2, 2)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(2 * width, width, 2, batch_first=True)
        self.classify = nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, classes) of (N, channels, time)."""
        x = torch.relu(self.conv(x)).transpose(1, 2)
        return self.classify(self.gru(self.lstm(x)[0])[0][:, -1])


class Masked(nn.Module):
    """torch's encoder on tokens (0: padding), with the mask of what is padding through all layers."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.classify = nn.Linear(width, CLASSES)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(N, classes) of tokens (N, length)."""
        return self.classify(self.encoder(self.embed(tokens), src_key_padding_mask=tokens == 0)[:, 0])


def in_place_first() -> nn.Module:
    """A network whose first layer changes the input where it lies."""
    return nn.Sequential(nn.Hardtanh(0.2, 0.8, inplace=True), pictures("resnet10")())


def padded(tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """Texts of several lengths, as transformers takes them: what is behind the end counts nothing."""
    ends = torch.arange(len(tokens))[:, None] % (tokens.shape[1] - 1) + 2
    return {"input_ids": tokens, "attention_mask": (torch.arange(tokens.shape[1]) < ends).long()}


class Driving(nn.Module):
    """A picture and a vector (speed, heading, ...) that joins the network's features."""

    def __init__(self, numbers: int = 6) -> None:
        super().__init__()
        network = pictures("resnet10")()
        self.features, self.numbers = network.features, nn.Linear(numbers, 512)
        self.joined = nn.Sequential(nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 64))
        self.classify = nn.Linear(64, CLASSES)

    def forward(self, picture: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """(N, classes)."""
        found = torch.cat([self.features(picture).flatten(1), self.numbers(state).tanh()], 1)
        return self.classify(torch.relu(self.joined(found)))


def with_state(picture: torch.Tensor) -> dict[str, torch.Tensor]:
    """A picture and six numbers."""
    return {"picture": picture, "state": picture.flatten(1)[:, :6] * 4 - 2}


SAM = {"hidden_size": 32, "output_channels": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "mlp_dim": 64}
SAM |= {"image_size": 64, "patch_size": 8, "window_size": 4, "global_attn_indexes": [1]}


def spread(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """As ``make``, with weights that carry a signal through: as configured, it dies out in these networks."""

    def made() -> nn.Module:
        module = make()
        for name, weight in module.named_parameters():
            if weight.ndim > 1:
                nn.init.xavier_uniform_(weight, gain=2.0)
            elif name.endswith("normalization.weight"):
                nn.init.ones_(weight)
        return module

    return made


class Sam(nn.Module):
    """The picture encoder of Segment Anything, whose layers give (N, H, W, C), classifying."""

    def __init__(self, **options: int) -> None:
        import transformers

        super().__init__()
        self.encoder = transformers.SamVisionModel(transformers.SamVisionConfig(**{**SAM, **options}))
        self.classify = nn.Linear(16, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, classes)."""
        return self.classify(self.encoder(x).last_hidden_state.mean((2, 3)))


def longformer() -> nn.Module:
    """A transformer that runs other code when its data ask for global attention."""
    options = {**ATTENTION, "vocab_size": 50, "max_position_embeddings": 64, "attention_window": 8}
    return hugging("LongformerForSequenceClassification", **options)()


ARCHITECTURES = {
    "residual": Architecture(pictures("resnet10"), ("features.stage1", "features.stage3")),
    "dense": Architecture(pictures("densenet40_k12_bc_cifar10"), ("features.stage1", "features.stage2"), (3, 32, 32)),
    "inception": Architecture(pictures("bninception"), ("features.stage1", "features.stage2.unit3")),
    "shuffle": Architecture(pictures("shufflenetv2_wd2"), ("features.stage1", "features.stage2")),
    "squeeze-excite": Architecture(pictures("seresnet10"), ("features.stage1", "features.stage3")),
    "depthwise": Architecture(pictures("mobilenetv2_wd4"), ("features.stage2", "features.stage4")),
    "compound": Architecture(pictures("efficientnet_b0"), ("features.stage2", "features.stage4")),
    "fire": Architecture(pictures("squeezenet_v1_1"), ("features.stage1", "features.stage2")),
    "multi-scale": Architecture(pictures("hrnet_w18_small_v1"), ("features.init_block", "features.stage1:0")),
    "token encoder": Architecture(
        hugging("ViTForImageClassification", **ATTENTION, image_size=64, patch_size=8), ("vit.layers.0", "vit.layers.2")
    ),
    "windows": Architecture(
        hugging(
            "SwinForImageClassification",
            image_size=64,
            patch_size=4,
            embed_dim=24,
            depths=[2, 2, 2],
            num_heads=[2, 4, 8],
            window_size=4,
        ),
        ("swin.encoder.layers.0.blocks.1", "swin.encoder.layers.1.blocks.1"),
    ),
    "channels-first encoder": Architecture(
        spread(
            hugging(
                "MobileViTForImageClassification",
                image_size=64,
                hidden_sizes=[32, 48, 64],
                neck_hidden_sizes=[8, 16, 24, 32, 48, 64, 128],
            )
        ),
        ("mobilevit.encoder.layer.1", "mobilevit.encoder.layer.3"),
    ),
    "channels-last encoder": Architecture(
        spread(Sam), ("encoder.vision_encoder.layers.0", "encoder.vision_encoder.layers.1")
    ),
    "convnext": Architecture(
        hugging("ConvNextForImageClassification", hidden_sizes=[16, 32, 64], depths=[1, 1, 2], num_stages=3),
        ("convnext.encoder.stages.0", "convnext.encoder.stages.1"),
    ),
    "fused encoder": Architecture(fused_encoder, ("body.layers.0", "body.layers.2"), (16, 32)),
    "masked encoder": Architecture(Masked, ("encoder.layers.0", "encoder.layers.2"), (16,), vocabulary=50),
    "bert": Architecture(
        hugging("BertForSequenceClassification", **ATTENTION, vocab_size=100, max_position_embeddings=32),
        ("bert.encoder.layer.0", "bert.encoder.layer.2"),
        (16,),
        vocabulary=100,
    ),
    "text and mask": Architecture(
        hugging("DistilBertForSequenceClassification", vocab_size=100, dim=32, n_layers=3, n_heads=4, hidden_dim=64),
        ("distilbert.transformer.layer.0", "distilbert.transformer.layer.1"),
        (16,),
        vocabulary=100,
        other=padded,
    ),
    "picture and state": Architecture(Driving, ("features.stage2", "joined"), other=with_state),
    "waveform": Architecture(
        hugging(
            "Wav2Vec2ForSequenceClassification",
            **ATTENTION,
            conv_dim=(16, 16, 16),
            conv_stride=(5, 4, 2),
            conv_kernel=(10, 4, 3),
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
            classifier_proj_size=16,
        ),
        ("wav2vec2.feature_extractor.conv_layers.1", "wav2vec2.encoder.layers.1"),
        (1600,),
    ),
    "spectrogram": Architecture(
        Spectrogram,
        ("network.audio_spectrogram_transformer.layers.0", "network.audio_spectrogram_transformer.layers.2"),
        (2048,),
    ),
    "recurrent": Architecture(Recurrent, ("conv", "lstm"), (4, 64)),
    "in-place first layer": Architecture(in_place_first, ("1.features.stage1", "1.features.stage3")),
}
