"""A program that is not medgraft's: reads paths of images, prints a line of JSON for each.

Its arguments are an ONNX file and the name of a normalisation.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

NORMALIZE = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "0..1": ((0.0,), (1.0,)),
    "-1..1": ((0.5,), (0.5,)),
}


def main() -> None:
    """Answer for each path of the standard input."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    mean, std = (np.array(values) for values in NORMALIZE[sys.argv[2]])
    fixed = session.get_inputs()[0].shape[0]
    for path in sys.stdin.read().splitlines():
        values = (np.asarray(Image.open(path).convert("RGB")) / 255 - mean) / std
        x = values.transpose(2, 0, 1)[None].astype(np.float32)
        if isinstance(fixed, int):
            x = x.repeat(fixed, axis=0)
        answer = session.run(None, {"image": x})[0][0]
        print(json.dumps({"file": path, "scores": answer.tolist()}))


if __name__ == "__main__":
    main()
