"""Pretrained networks with their provenance, and the taps where they can be read.

A `Backbone` knows its taps (name, stride, channels, cost) without holding weights: it is described
on torch's meta device, and the weights are loaded when somebody runs it. Where weights come from
stands in `weights.py`, what a tap is in `taps.py`, how networks are run fast in `engine.py`.
"""

from __future__ import annotations

import bisect
import copy
import dataclasses
import functools
import importlib.metadata
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgraft.errors import BackboneError
from medgraft.features import weights as sources
from medgraft.features.added import added_card, added_names, added_state, is_added
from medgraft.features.fitting import DENSE_LAYERS, fitted, without_prefix
from medgraft.features.norms import BEFORE_NORM, before_norm
from medgraft.features.taps import (
    DENSE,
    STAGES,
    TOKENS,
    Tap,
    at_size,
    describe,
    is_vgg,
    set_size,
)
from medgraft.files import StorageError, write_json, written_file
from medgraft.types import Card, Cost, digest

if TYPE_CHECKING:
    from torch import nn

DEFAULT = "tf_efficientnet_lite0"
HYBRIDS = {"hybrid_vgg16": "vgg16", "hybrid_vgg19": "vgg19"}  # ours, and whose weights they take
ALIASES = {"xception": "legacy_xception"}  # usual names that timm has given up
HYBRID_VERSION = 1  # raise it when the weights that are drawn become others
TAPS_VERSION = 4  # raise it when taps are named or described otherwise


@dataclass(frozen=True, eq=False)
class Backbone:
    """A pretrained network: its card, its taps in order of depth, and the network when asked.

    `state` gives the state dict when it is needed; None stands for random weights. Taps and
    network are made when they are first used, and taps are noted in the folder `notes`, so that
    kept codes and graphs are used without loading torch. What is kept of the network is kept
    under `key`: the card's sha256, unless `verified` names weights whose card is only a claim.
    """

    card: Card
    state: Callable[[], sources.StateDict | None] = field(repr=False)
    notes: Path | None = field(default=None, repr=False)
    verified: str = ""

    @property
    def name(self) -> str:
        return self.card.id

    @property
    def key(self) -> str:
        """What names these weights wherever something computed with them is kept."""
        return self.verified or self.card.sha256

    @functools.cached_property
    def taps(self) -> tuple[Tap, ...]:
        """Every tap of the network, from shallow to deep, at its own input size."""
        return self.taps_at(self.card.size)

    def taps_at(self, size: int) -> tuple[Tap, ...]:
        """The taps that have a map for images of `size` px, with their cost and side there."""
        if size not in self._taps_by_size:
            self._taps_by_size[size] = self._measured(size)
        return self._taps_by_size[size]

    @functools.cached_property
    def _taps_by_size(self) -> dict[int, tuple[Tap, ...]]:
        return {}

    def _measured(self, size: int) -> tuple[Tap, ...]:
        """`taps_at`, from a note of an earlier process where there is one."""
        recipe = (self.card.name, self.card.size, self.card.dense, size)
        if self.notes is None:
            return _taps(*recipe)
        version = importlib.metadata.version("timm")
        what = f"{self.card.name}{'-dense' if self.card.dense else ''}-{self.card.size}"
        where = "" if size == self.card.size else f"-at-{size}"
        note = self.notes / f"{what}{where}-timm{version}-{TAPS_VERSION}.json"
        taps = _read_note(note)
        if not taps:
            taps = _taps(*recipe)
            with suppress(StorageError):  # only time is lost where it cannot be kept
                write_json(note, [dataclasses.asdict(tap) for tap in taps])
        return taps

    def tap(self, name: str) -> Tap:
        """The tap of that name.

        Raises
        ------
        BackboneError
            There is none; the text lists those there are.
        """
        if name.endswith(BEFORE_NORM):
            return before_norm(self.network, self.tap(name.removesuffix(BEFORE_NORM)))[0]
        for tap in self.taps:
            if tap.name == name:
                return tap
            if name == f"{tap.name}{TOKENS}" and tap.layout == "NLC":
                return tap.sequence
        names = ", ".join(tap.name for tap in self.taps)
        vgg = self.taps[0].name == "block1_conv1" and self.card.name not in HYBRIDS
        if name in DENSE and vgg:
            raise BackboneError(
                f"no tap {name!r}: these weights of {self.name} ({self.card.source}) hold only the "
                "convolutions; pass --weights FILE, or --weights hub, that include the "
                f"classifier, or choose among: {names}"
            )
        raise BackboneError(f"{self.name} has no tap {name!r}; it has: {names}")

    def tap_at(self, name: str, size: int) -> Tap:
        """The tap of that name as it is for images of `size` px.

        Raises
        ------
        BackboneError
            There is no such tap, or it has no map at that size.
        """
        tap = self.tap(name)
        self.check_size(size, tap.name.removesuffix(TOKENS))
        found = next(known for known in self.taps_at(size) if known.module == tap.module)
        return dataclasses.replace(tap, cost=found.cost, side=found.side)

    def cost(self, tap: str, size: int) -> Cost:
        """What a forward pass up to `tap` costs for images of `size` px.

        Raises
        ------
        BackboneError
            There is no such tap, or it has no map at that size.
        """
        return self.tap_at(tap, size).cost

    def check_size(self, size: int, *taps: str) -> None:
        """Refuse an input size at which one of `taps` (of all taps, by default) has no map.

        Raises
        ------
        BackboneError
            The network takes images of one size only, or these are too small, or there is no such
            tap; the text says which size works.
        """
        wanted = [self.tap(name) for name in taps] or self.taps
        if size == self.card.size:
            return
        there = {tap.name for tap in self.taps_at(size)}
        lacking = [tap for tap in wanted if tap.name not in there]
        if not lacking:
            return
        if not self.any_size:
            raise BackboneError(
                f"{self.name} takes images of {self.card.size} px only, not {size}; leave --sizes "
                f"away, or choose a convolutional backbone such as {DEFAULT}"
            )
        patch = self._patch
        if size % patch:
            below, above = size // patch * patch, -(-size // patch) * patch
            either = f"{below} or {above}" if below else f"{above}"
            raise BackboneError(
                f"{self.name} cuts an image into patches of {patch} px, which do not fill {size}; "
                f"pass --sizes {either}"
            )
        smallest = self._smallest_size(lacking[0])
        rule = (
            f"it needs {smallest} or more" if size < smallest else "the map cannot be cut from it"
        )
        raise BackboneError(
            f"the tap {lacking[0].name} of {self.name} has no map for images of {size} px: {rule}; "
            f"pass --sizes {max(smallest, self.card.size)}, or choose a shallower tap"
        )

    @functools.cached_property
    def any_size(self) -> bool:
        """Whether the network runs at other sizes than its own."""
        return len(self.taps_at(2 * self.card.size)) == len(self.taps)

    @property
    def of_tokens(self) -> bool:
        """Whether it cuts images into patches (ViT, Swin), and so is made for one input size."""
        return _of_tokens(self.taps)

    @property
    def _patch(self) -> int:
        """The pixels whose multiples an input size must be."""
        return self.taps[0].stride if self.of_tokens else 1

    def at(self, size: int) -> Backbone:
        """The same backbone made for images of `size` px, under the same key.

        Itself, where it takes any size; of tokens one with what `taps.set_size` makes of the
        weights.
        """
        if size == self.card.size or not self.of_tokens:
            return self
        if size not in self._at:
            card = dataclasses.replace(self.card, size=size)
            self._at[size] = Backbone(card, lambda: self._state_at(size), self.notes, self.verified)
        return self._at[size]

    @functools.cached_property
    def _at(self) -> dict[int, Backbone]:
        return {}

    def _state_at(self, size: int) -> sources.StateDict:
        network: Any = copy.deepcopy(self.network)
        set_size(network, size)
        return network.state_dict()  # type: ignore[no-any-return]

    def with_network(self, network: nn.Module) -> Backbone:
        """The same backbone with this network in the place of its own."""
        other = dataclasses.replace(self)
        other.__dict__.update(self.__dict__)  # the taps that are known already
        other.__dict__.pop("_at", None)
        other.__dict__["network"] = network
        return other

    def _smallest_size(self, tap: Tap) -> int:
        """The smallest input size, in pixels, at which that tap has a map: mostly its stride."""

        def works(size: int) -> bool:
            return any(known.name == tap.name for known in self.taps_at(size))

        if self.of_tokens:
            return next(size for size in itertools.count(self._patch, self._patch) if works(size))
        least = max(tap.stride, 1)
        if works(least):
            return least
        return least + bisect.bisect_left(range(least, self.card.size), True, key=works)

    def named(self, name: str) -> tuple[Tap, ...]:
        """The taps a scenario's tap stands for: itself, or every stage (`STAGES`)."""
        return self.stages if name == STAGES else (self.tap(name),)

    @property
    def stages(self) -> tuple[Tap, ...]:
        """The ends of the stages, shallow to deep; of a token network its last four blocks."""
        return tuple(tap for tap in self.taps if tap.stage)

    def block(self, k: int) -> Tap:
        """The tap that stands for block k (1 to 5), the nearest deeper one where k has none.

        A ViT has one stride from end to end; all its blocks are its last tap.
        """
        with_extent = [tap for tap in self.taps if tap.block is not None]
        return next((tap for tap in with_extent if (tap.block or 0) >= k), with_extent[-1])

    @functools.cached_property
    def network(self) -> nn.Module:
        """The network with its weights, in eval mode, nothing requiring a gradient.

        Channels come last in memory, which is fastest, from the start: threads share the network,
        and whoever moved its weights later would garble what another is computing with them.

        Raises
        ------
        BackboneError
            The weights do not fit the network.
        """
        import torch

        make = functools.partial(build, self.card.name, self.card.size, dense=self.card.dense)
        network: Any = make()
        state = self.state()
        if any(buffer.is_meta for buffer in _unsaved(network)):
            network = make(device="cpu")  # no state dict holds them: they must be computed
        if state is None:  # random weights, for tests of structure
            torch.manual_seed(0)
            network = make(device="cpu")
        else:
            head = tuple(_classifier_names(network, dense=self.card.dense))
            state = {name: value for name, value in state.items() if not name.startswith(head)}
            try:
                network.load_state_dict(state, strict=True, assign=True)
            except RuntimeError as error:
                first = str(error).splitlines()
                raise BackboneError(
                    f"the weights do not fit {self.name}: {' '.join(first[:3])[:300]}; "
                    "give weights made for this network"
                ) from error
        network = network.to(memory_format=torch.channels_last).requires_grad_(False)
        return network.eval()  # type: ignore[no-any-return]


def load_backbone(name: str = DEFAULT, weights: str = "", notes: Path | None = None) -> Backbone:
    """Find a backbone by its timm name, or a hybrid network by ours.

    Parameters
    ----------
    name
        Any network of timm, one of `HYBRIDS`, whose weights are then those of its VGG, or a name
        that `medgraft weights add` gave.
    weights
        '' for weights that came by pip; `hub` to download timm's; a path of a .safetensors or
        state-dict file; `random` for untrained ones (tests of structure).
    notes
        A folder where what is found out about taps is kept, so that torch need not be asked again.

    Raises
    ------
    BackboneError
        timm has no such network, or there are no weights for it.
    """
    if name in HYBRIDS:
        return _load_hybrid(name, weights, notes)
    if is_added(name):
        if weights:
            raise BackboneError(
                f"{name} was added with weights of its own (medgraft weights list); leave "
                f"--weights {weights} away, or name a network of timm with --backbone"
            )
        card = added_card(name)
        return Backbone(card, lambda: added_state(card), notes)
    packaged = sources.PACKAGED.get(name)
    if packaged is not None and not weights:
        packaged.locate()
        card = Card(
            name,
            packaged.distribution,
            packaged.licence,
            packaged.credit,
            packaged.sha256,
            packaged.size,
            packaged.mean,
            packaged.std,
            pretraining=packaged.pretraining,
        )
        return Backbone(card, packaged.load, notes)
    _check_name(name)
    source, sha256, state = _named_weights(name, weights)
    network = build(name)
    config = network.pretrained_cfg
    dense = is_vgg(network) and (state is None or any(key in state for key in DENSE_LAYERS))
    card = Card(
        name,
        source,
        licence=config.get("license") or "unknown",
        credit=config.get("origin_url") or "timm",
        sha256=sha256,
        size=int(config["input_size"][1]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        dense=dense,
    )

    def own() -> sources.StateDict | None:
        return None if state is None else fitted(state, build(name, dense=dense), source, name)

    return Backbone(card, own, notes)


def _named_weights(name: str, weights: str) -> tuple[str, str, sources.StateDict | None]:
    """Source, sha256 and state of the weights that a user named for a network of timm."""
    if weights == "random":
        return "random", "random-0", None
    if weights == "hub":
        state, sha256 = sources.hub_state(ALIASES.get(name, name))
        return "timm hub", sha256, state
    if weights:
        path = Path(weights)
        return f"file {path.name}", sources.sha256_of(path), without_prefix(sources.load_file(path))
    known = ", ".join(sources.PACKAGED)
    raise BackboneError(
        f"no weights for {name} come by pip (those that do: {known}); "
        "pass --weights FILE, or --weights hub to download timm's; or keep a file for always: "
        "medgraft weights add FILE"
    )


def _load_hybrid(name: str, weights: str, notes: Path | None) -> Backbone:
    """A hybrid network: the first blocks of its VGG's weights, the others drawn by a fixed seed.

    Its card's sha256 is of the VGG's hash and of what decides the draw, so that it is known before
    either is loaded, and equal in every process.
    """
    vgg = load_backbone(HYBRIDS[name], weights, notes)
    card = dataclasses.replace(vgg.card, name=name, dense=False)
    if weights == "random":
        return Backbone(card, vgg.state, notes)

    def state() -> sources.StateDict:
        from medgraft.features.networks import with_first_blocks

        return with_first_blocks(HYBRIDS[name], vgg.state() or {}, vgg.card.source)

    drawn = (HYBRID_VERSION, importlib.metadata.version("torch"))
    card = dataclasses.replace(
        card,
        source=f"{card.source}: blocks 1 to 3 only; blocks 4 and 5 are untrained",
        credit=f"{card.credit}, of which blocks 1 to 3; blocks 4 and 5 drawn at random, untrained, "
        "in the form of Chollet 2017 (Xception)",
        sha256=digest(name, card.sha256, drawn, length=64),
    )
    return Backbone(card, state, notes)


def restore_backbone(
    card: Card,
    path: Path,
    notes: Path | None = None,
    verified: str = "",
    kept: Path | None = None,
) -> Backbone:
    """The backbone that `save_backbone` wrote, under its own card; nothing is read before use.

    kept : the same file where it stays, which is read first; what is at `path` may go.
    """
    return Backbone(
        card,
        lambda: sources.load_file(path if kept is None or not kept.is_file() else kept),
        notes,
        verified,
    )


def save_backbone(backbone: Backbone, path: Path) -> None:
    """Write the network's weights as safetensors, for a bundle that stands alone."""
    from safetensors.torch import save_file

    state = backbone.network.state_dict()
    with written_file(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, temporary)


def _check_name(name: str) -> None:
    """Refuse a name that timm does not know, with its nearest neighbours."""
    import difflib

    known = [*known_names(), *added_names()]
    if name not in known:
        close = ", ".join(difflib.get_close_matches(name, known, n=5)) or "see `timm.list_models`"
        raise BackboneError(f"timm has no network {name!r}; close names: {close}")


def known_names() -> tuple[str, ...]:
    """The names of timm's networks, its earlier names for some, and those of our own."""
    return (*sources.import_timm().list_models(), *HYBRIDS, *ALIASES)


@contextmanager
def _kept_random_state() -> Iterator[None]:
    """Leave torch's random numbers as they were; building a network draws some."""
    import torch

    before = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(before)


def _unsaved(network: Any) -> Iterator[Any]:
    """The buffers that a network computes when it is built, and leaves out of its state dict."""
    saved = network.state_dict().keys()
    return (buffer for name, buffer in network.named_buffers() if name not in saved)


def build(name: str, size: int = 0, device: str = "meta", *, dense: bool = False) -> Any:
    """Build a network without its classifier; on the meta device it costs no memory.

    size : of the images that a network of tokens is made for; 0 for its own. timm's `pre_logits`
    are VGG's fc6 and fc7: 120 million weights, there only if `dense`.
    """
    import torch
    from torch import nn

    timm = sources.import_timm()
    with torch.device(device), _kept_random_state():
        if name in HYBRIDS:
            from medgraft.features.networks import HybridVGG

            return HybridVGG(HYBRIDS[name]).eval()
        network = timm.create_model(ALIASES.get(name, name), pretrained=False, num_classes=0)
        if size:
            set_size(network, size)
    if is_vgg(network) and not dense:
        network.pre_logits = nn.Identity()
    return network.eval()


def _classifier_names(network: Any, *, dense: bool) -> list[str]:
    """Prefixes of the parameters that lie behind the last tap and are left out."""
    classifier = getattr(network, "pretrained_cfg", {}).get("classifier") or "classifier"
    names = [classifier] if isinstance(classifier, str) else list(classifier)
    unread = ["pre_logits."] if is_vgg(network) and not dense else []
    return [f"{name}." for name in names] + unread


def _read_note(note: Path) -> tuple[Tap, ...]:
    """The taps noted there; none where there is no note, or a garbled one."""
    try:
        rows = json.loads(note.read_text(encoding="utf-8"))
        return tuple(Tap(**{**row, "cost": Cost(**row["cost"])}) for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return ()


@functools.cache
def _taps(name: str, own_size: int, dense: bool, size: int) -> tuple[Tap, ...]:
    """Every tap of a network that has a map at `size`, named and ordered as at its own size."""
    if size == own_size:
        return describe(build(name, size, dense=dense), size)
    own = _taps(name, own_size, dense, own_size)
    try:
        network = build(name, size if _of_tokens(own) else 0, dense=dense)
    except (AssertionError, ValueError):  # the patches do not fill such an image
        return ()
    return at_size(network, own, size)


def _of_tokens(taps: Sequence[Tap]) -> bool:
    """Whether these are taps of a network that cuts images into patches."""
    return taps[0].layout != "NCHW"
