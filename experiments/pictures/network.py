"""What a network gives of an image: taps and codes, descriptors and VLAD."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from medgraft.explain.layers import layer_atlases
from medgraft.features.codebooks import VLAD
from pictures.paper import BLUE, bare, film, new_figure, over
from pictures.world import SCENARIO, World

SHOWN = "lesion/patient0006_view1.png"
WORDS = 8  # centres in the picture of VLAD; 16 or 64 in use


def taps(world: World) -> Figure:
    """Two channels of each of the five blocks, and the code that pooling makes of the last."""
    crossed = world.crossed(world.films)
    [canvas] = world.canvases(world.films, [SHOWN])
    [atlas] = layer_atlases(crossed.fitted, [canvas], channels=2)
    figure = new_figure(11, 6.2)
    grid = figure.add_gridspec(3, 6, height_ratios=(1, 1, 0.45))
    film(figure.add_subplot(grid[:2, 0]), canvas.pixels, "a film")
    for column, view in enumerate(atlas.views, start=1):
        rows, columns = view.grid
        head = f"block {column}\n{rows} × {columns} places\n{view.n_channels} channels"
        for row in range(2):
            axes = figure.add_subplot(grid[row, column])
            if row < len(view.channels):
                heat = np.clip(view.channels[row].map, 0, None)
                over(axes, canvas.pixels, heat, head if row == 0 else "")
            else:
                bare(axes)
    [network] = crossed.fitted.networks
    code = network.codes([canvas])[0]
    axes = figure.add_subplot(grid[2, :])
    axes.bar(np.arange(len(code)), code, width=1, color=BLUE)
    axes.set_xlim(-1, len(code))
    axes.set_xlabel(f"the CNN code at {SCENARIO.tap}: the mean of each of its {len(code)} channels")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return figure


def vlad(world: World) -> Figure:
    """Places coloured by the centre next to them, and what is summed up at each centre."""
    spec = world.extractor.spec(SCENARIO.backbone, ("blocks.4",))
    stream = world.extractor.descriptors(world.films, spec)
    ids, blocks = [], []
    for some, descriptors in stream():
        ids.extend(some.tolist())
        blocks.append(descriptors.astype(np.float32))
    every = np.concatenate(blocks)
    encoder = VLAD(k=WORDS, pca=32, whiten=None, assignment="hard").fit(every)
    shown = (SHOWN, "normal/patient0001_view1.png")
    figure = new_figure(11, 5.4)
    grid = figure.add_gridspec(2, 4, width_ratios=(1, 1, 0.05, 2.2))
    for row, (name, canvas) in enumerate(
        zip(shown, world.canvases(world.films, list(shown)), strict=True)
    ):
        mine = every[ids.index(name)][None]
        side = round(mine.shape[1] ** 0.5)
        words = encoder._shares(encoder._words(mine))[0].argmax(axis=1).reshape(side, side)
        label = name.split("/")[0]
        film(figure.add_subplot(grid[row, 0]), canvas.pixels, f"a film: {label}")
        axes = figure.add_subplot(grid[row, 1])
        axes.imshow(canvas.pixels, cmap="gray", extent=(0, side, side, 0))
        axes.imshow(words, cmap="tab10", vmin=0, vmax=9, alpha=0.55, extent=(0, side, side, 0))
        bare(axes, f"{side} × {side} descriptors, by their centre" if row == 0 else "")
        code = encoder.transform(mine)[0].reshape(WORDS, -1)
        axes = figure.add_subplot(grid[row, 3])
        top = float(np.abs(code).max())
        axes.imshow(code, cmap="RdBu_r", vmin=-top, vmax=top, aspect="auto")
        axes.set_yticks(range(WORDS), [f"{j + 1}" for j in range(WORDS)])
        axes.set_xticks([])
        axes.set_ylabel("centre")
        if row == 0:
            axes.set_title("the VLAD code: how its descriptors lie about each centre", fontsize=11)
        else:
            axes.set_xlabel("dimensions of a descriptor")
    return figure
