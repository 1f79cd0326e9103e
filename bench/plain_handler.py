"""What one writes without a server of ours: FastAPI, one handler, torch, the same decoder.

Written fairly: the network ends where the head reads it, inference leaves the event loop, two
threads compute, and WAY is how torch runs it (`eager`, `channels_last`, `compile`). It answers
probabilities alone, one request at a time, as such handlers do.

    python bench/plain_handler.py RUN PORT WAY
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, File, UploadFile
from fastapi.concurrency import run_in_threadpool

from medgraft.bundle.model import load_model
from medgraft.data.pixels.decode import decode
from medgraft.data.preprocess import make_canvas, recipe_of
from medgraft.learn.network import NetworkWithHead

WAYS = ("eager", "channels_last", "compile")


def make_app(run: Path, way: str) -> FastAPI:
    fitted = load_model(run, engine="torch")
    assert isinstance(fitted, NetworkWithHead)
    recipe = recipe_of(fitted.spec)
    graph: Any = fitted.torch_graph()
    layout = torch.contiguous_format if way == "eager" else torch.channels_last
    graph = graph.to(memory_format=layout)
    if way == "compile":
        graph = torch.compile(graph)
    torch.set_num_threads(2)

    def answer(content: bytes) -> dict[str, float]:
        pixels = make_canvas("", decode(content, recipe.shape, fitted.rule), recipe).pixels
        rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        image = torch.from_numpy(rgb[None]).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            scores = graph(image.contiguous(memory_format=layout)).numpy()
        (p,) = fitted.calibrator(scores.astype(float))
        return dict(zip(fitted.classes, p.tolist(), strict=True))

    app = FastAPI()

    @app.post("/v1/predict")
    async def predict(files: Annotated[UploadFile, File()]) -> dict[str, float]:
        return await run_in_threadpool(answer, await files.read())

    return app


if __name__ == "__main__":
    folder, port, way = sys.argv[1:]
    uvicorn.run(make_app(Path(folder), way), port=int(port), log_level="warning", access_log=False)
