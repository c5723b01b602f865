"""Where to put exits when nobody says: where one tensor crosses, by the work before it and what is known there.

All layers that could carry an exit get one at once, and the network is exported once with them. The graph then shows
what crosses at each and how much of the work lies before it. With labelled inputs, and a network that answers them
better than guessing, linear probes show how accurate an exit could be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hasten.core.errors import InputError
from hasten.networks.attach import attach_exits, dry_run
from hasten.networks.prepare import Prepare
from hasten.networks.probe import Place, best_places, probe_exits
from hasten.networks.tapping import main_tensor
from hasten.split.build import reference_of
from hasten.split.exit_places import places_of_exits
from hasten.split.export import export_network
from hasten.split.modules import Batch, mapped
from hasten.split.network import ExportedNetwork

AUTO = "auto:"
MAX_CANDIDATES = 48
LEAST_SHARE, LARGEST_SHARE = 0.03, 0.97
"""An exit before or behind so much of the work is as late, or as early, as none."""


def asked_count(exits: Sequence[str]) -> int | None:
    """N of ``["auto:N"]``; None where layers are named."""
    if len(exits) != 1 or not exits[0].startswith(AUTO):
        return None
    text = exits[0].removeprefix(AUTO)
    if not text.isdigit() or not 1 <= int(text) <= MAX_CANDIDATES:
        raise InputError("exits", "layers", exits[0], f"auto:N with N from 1 to {MAX_CANDIDATES}")
    return int(text)


def layers_of_request(
    module: nn.Module,
    request: str,
    example: Batch | None,
    prepare: Prepare | None,
    labels: NDArray[np.integer] | None,
) -> list[str]:
    """The layers that ``auto:N`` asks for; see :func:`propose_exits`."""
    count = asked_count([request])
    if count is None:
        raise InputError("exits", "layers", request, "a list of layers' names, or auto:N")
    if example is None:
        expected = "an input_shape or example to choose layers with"
        raise InputError("exits", "layers", request, expected)
    return propose_exits(module, count, example, prepare, labels)


def propose_exits(
    module: nn.Module,
    count: int,
    example: Batch,
    prepare: Prepare | None = None,
    labels: NDArray[np.integer] | None = None,
    seed: int = 0,
) -> list[str]:
    """Names of ``count`` layers of ``module`` (fewer, if it has no more places), in the order in which they run.

    Args:
        module: any module that :func:`hasten.attach_exits` takes.
        count: so many exits, the module's own output not counted.
        example: inputs (N, *input_shape), or several by name; some hundred where there are labels.
        prepare: what happens to inputs before the module gets them.
        labels: classes (N,) of the inputs. With them, if the module answers better than guessing already, the exits
            have the largest area of accuracy over work that linear probes promise. Else they come as near as can be to
            even shares of the work (multiply-accumulates).
        seed: draws which inputs fit the probes and which judge them.

    Raises:
        InputError: no layer can carry an exit.
    """
    prepare = prepare or Prepare()
    names = _candidates(module, prepare.batch(mapped(example, lambda x: x[:2])))
    while names:
        try:
            with torch.random.fork_rng(devices=[]):
                network = attach_exits(module, names, example=mapped(example, lambda x: x[:2]), prepare=prepare)
            break
        except InputError as error:
            if error.field not in names:
                raise
            names.remove(error.field)
    if not names:
        raise InputError("exits", "layers", f"auto:{count}", "a network with layers that can carry exits; name layers")
    frame = mapped(example, lambda x: x[:1].clone())
    arrays = {name: x.numpy() for name, x in frame.items()} if isinstance(frame, dict) else frame.numpy()
    exported, names = _depending(export_network(reference_of(network, arrays), frame), network.exit_names)
    places = {
        place.share: name  # of places with the same work before them the last, where activations have run
        for name, place in zip(names, places_of_exits(exported, names), strict=False)
        if place.room and place.tensors == 1 and LEAST_SHARE <= place.share <= LARGEST_SHARE
    }
    if not places:
        raise InputError(
            "exits", "layers", f"auto:{count}", "a network with a place where one tensor crosses; name layers"
        )
    accuracies = None if labels is None else probe_exits(network, example, labels, seed)
    if accuracies is None:
        found = _even(places, count)
    else:
        known = [Place(name, share, accuracies[name]) for share, name in sorted(places.items())]
        found = best_places(known, count)
    return [name for name in network.exit_names if name in found]


def _even(places: Mapping[float, str], count: int) -> list[str]:
    """Of ``places`` (share of the work to name) the nearest to even shares."""
    found: list[str] = []
    for number in range(1, count + 1):
        left = [share for share, name in places.items() if name not in found]
        if left:
            found.append(places[min(left, key=lambda share: abs(share - number / (count + 1)))])
    return found


def _depending(network: ExportedNetwork, names: Sequence[str]) -> tuple[ExportedNetwork, list[str]]:
    """``network`` and its exits' names without those that are the same for every input, as of embedded positions."""
    kept = [(name, given) for name, given in zip(names, network.exits, strict=True) if network.needed(given.values())]
    return ExportedNetwork(network.graph, [given for _, given in kept], network.data), [name for name, _ in kept]


def _candidates(module: nn.Module, x: Batch) -> list[str]:
    """Layers that run exactly once and give one tensor of 2 to 4 axes, at most so many, evenly chosen as they run."""
    ran: list[str] = []
    fitting: dict[str, Tensor] = {}

    def listen(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def hook(_layer: nn.Module, _inputs: object, output: object) -> None:
            ran.append(name)
            tensor = main_tensor(layer, output)
            if isinstance(tensor, Tensor) and 2 <= tensor.ndim <= 4 and tensor.is_floating_point():
                fitting[name] = tensor

        return layer.register_forward_hook(hook)

    handles = [listen(name, layer) for name, layer in module.named_modules() if name]
    try:
        dry_run(module, x)
    finally:
        for handle in handles:
            handle.remove()
    once = [name for name in ran if ran.count(name) == 1 and name in fitting]
    outer = {id(fitting[name]): name for name in once}  # the outermost, which ends last
    names = [name for name in once if outer[id(fitting[name])] == name]
    if len(names) <= MAX_CANDIDATES:
        return names
    return [names[round(place * (len(names) - 1) / (MAX_CANDIDATES - 1))] for place in range(MAX_CANDIDATES)]
