"""The shapes of requests and answers, for OpenAPI and for readers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MODEL = {
    "sha256": "3f0c…", "scenario": "probe/tf_efficientnet_lite0/stages/svm",
    "classes": ["NORMAL", "PNEUMONIA"], "positive": "PNEUMONIA", "threshold": 0.742,
    "threshold_rule": "highest balanced accuracy",
}  # fmt: skip
IMAGE = {
    "index": 0, "id": None, "label": "PNEUMONIA",
    "probabilities": {"NORMAL": 0.03, "PNEUMONIA": 0.97}, "mean_grade": None, "grade_sd": None,
    "set": ["PNEUMONIA"], "unlike": False, "remark": "", "error": None,
}  # fmt: skip
ERROR = {
    "code": "empty_file", "value": "a file of 0 bytes", "rule": "a file must be a whole image",
    "remedy": "send its content",
}  # fmt: skip
UNREAD = {
    **dict.fromkeys(IMAGE), "index": 1, "remark": "", "error": ERROR,
}  # fmt: skip


def _example(**content: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [content]})


class ServedBy(BaseModel):
    """The model that answered; `sha256` is of all its files, `threshold` that of its label."""

    sha256: str
    scenario: str
    classes: list[str]
    positive: str | None
    threshold: float | None
    threshold_rule: str | None


class Refused(BaseModel):
    """What was found, the rule that it breaks, and what helps; `code` is stable."""

    code: str
    value: str
    rule: str
    remedy: str


class ErrorAnswer(BaseModel):
    """Of a request that has no answer."""

    model_config = _example(error=ERROR)
    error: Refused


class ImageAnswer(BaseModel):
    """Of one file, by its place in the request; `error` says why the others are empty."""

    index: int
    id: str | None = Field(description="of DICOM, how a study on this machine names it")
    label: str | None
    probabilities: dict[str, float] | None
    mean_grade: float | None = Field(description="of classes that are grades, by probabilities")
    grade_sd: float | None = Field(description="the standard deviation of that mean")
    set: list[str] | None = Field(description="classes that cannot be left out, the label among")
    unlike: bool | None = Field(description="whether it is unlike the images learned from")
    remark: str = Field(description="what is to be said of how it was read")
    error: Refused | None


class Predicted(BaseModel):
    """As many images as there were files, in their order."""

    model_config = _example(model=MODEL, images=[IMAGE, UNREAD])
    model: ServedBy
    images: list[ImageAnswer]


class MapAnswer(BaseModel):
    """One map, grey, as data URIs: of the canvas that the model sees, alone and over it, and in
    the image's own proportions.
    """

    tap: str
    block: int | None = Field(description="1 to 5 from shallow to deep; none of the whole model")
    largest: float = Field(
        description="that white stands for; 0 where nothing speaks for the class"
    )
    map: str
    image_map: str
    overlay: str


class ExplainedAnswer(BaseModel):
    """Where in one image the score of a class comes from."""

    model_config = _example(
        model=MODEL,
        image=IMAGE | {"set": None, "unlike": None},
        target="PNEUMONIA",
        method="gradcam",
        maps=[
            {
                "tap": "blocks.2",
                "block": 3,
                "largest": 0.8,
                "map": "data:image/png;base64,…",
                "image_map": "data:image/png;base64,…",
                "overlay": "data:image/webp;base64,…",
            }
        ],
    )
    model: ServedBy
    image: ImageAnswer
    target: str
    method: str
    maps: list[MapAnswer]


class Audited(BaseModel):
    """What the evidence audit said; `verdict` is none where there was no audit."""

    verdict: str | None
    says: str
    means: str
    findings: list[str]


class Calibrated(BaseModel):
    """Whether probabilities come true; `verdict` is none where that was not measured."""

    verdict: str | None
    says: str


class Takes(BaseModel):
    """What one request may hold."""

    files: int
    file_bytes: int
    request_bytes: int


class AboutAnswer(BaseModel):
    """The model, and what is known of it."""

    model_config = _example(
        model=MODEL,
        audit={"verdict": "PASS", "says": "…", "means": "…", "findings": []},
        calibration={"verdict": None, "says": "…"},
        learned_from={"NORMAL": 1079, "PNEUMONIA": 3106},
        alpha=0.1,
        knows_unlike=True,
        no_depth="",
        limits={"files": 64, "file_bytes": 67108864, "request_bytes": 268435456},
    )
    model: ServedBy
    audit: Audited
    calibration: Calibrated
    learned_from: dict[str, int] = Field(description="images of each class")
    alpha: float | None = Field(description="the share of each class that sets may miss")
    knows_unlike: bool = Field(
        description="whether it tells what is unlike the images learned from"
    )
    no_depth: str = Field(
        description="why it has no map at each depth (method=gradcam); empty where it has"
    )
    limits: Takes


class Case(BaseModel):
    """An image of the study; probabilities are of models that had not seen it."""

    id: str
    labelled: str
    probabilities: dict[str, float]
    why: str = Field(description="`label`: it may be wrong; `unsure`: the models were")
    picture: str | None = Field(description="how /v1/cases/{name} is asked for its picture")


class CasesAnswer(BaseModel):
    """Images to look at; none where the study is not at hand, or others may reach the server."""

    model_config = _example(
        cases=[
            {
                "id": "train/NORMAL/1.jpeg",
                "labelled": "NORMAL",
                "probabilities": {"NORMAL": 0.02, "PNEUMONIA": 0.98},
                "why": "label",
                "picture": "Zm9y…",
            }
        ]
    )
    cases: list[Case]


class State(BaseModel):
    """`ok` or `ready`."""

    model_config = _example(status="ok")
    status: str


def with_examples(openapi: dict[str, Any]) -> dict[str, Any]:
    """The description with whole examples: FastAPI leaves out what is null in them."""
    for kind in (AboutAnswer, CasesAnswer, ErrorAnswer, ExplainedAnswer, Predicted, State):
        openapi["components"]["schemas"][kind.__name__] |= kind.model_config["json_schema_extra"]
    return openapi


def files_of(most: int) -> dict[str, Any]:
    """The body of a request, as OpenAPI has it: a form of files."""
    files = {
        "type": "array",
        "minItems": 1,
        "items": {"type": "string", "format": "binary"},
        "description": f"images, {most} at most: JPEG, PNG, TIFF, BMP, WebP, GIF, PBM, PGM, PPM, "
        "DICOM; their names are not read",
    }
    form = {
        "type": "object",
        "required": ["files"],
        "additionalProperties": False,
        "properties": {"files": files},
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": form}}}


WHY = {
    401: "no key, or another",
    408: "the body came too slowly",
    404: "no such case, or its file is gone or was changed",
    413: "too many bytes, files or pixels",
    415: "no multipart form, or not one file is an image of a kind that is read",
    421: "asked by a name that is not this server's",
    422: "a broken or empty form, or not one file can be read",
    429: "too much is under way",
    500: "a fault of the server",
    503: "no answer in time",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Their part of a route's `responses`."""
    return {status: {"model": ErrorAnswer, "description": WHY[status]} for status in statuses}
