"""Exchanged regions, and what follows from the answers of classifiers whose reasons are known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax

from medgraft.audit import effects, evidence
from medgraft.audit.effects import possible, seen
from medgraft.audit.evidence import (
    Audit,
    AuditOptions,
    _read_parts,
    audit_evidence,
)
from medgraft.audit.findings import doubts_of_classes, not_exchanged, verdict_of
from medgraft.audit.parts import common_content, read_part
from medgraft.audit.regions import Region, alphas, has_inside, layout_of, regions_of
from medgraft.audit.swap import Forecast, Unit, draw_units, exchanged, exchanged_at_all
from medgraft.data.ingest import LoadOptions, load
from medgraft.errors import DataError, ScenarioError
from medgraft.features.cache import Cache
from medgraft.features.extract import Extractor
from medgraft.report.text.audit_findings import sentence
from medgraft.results.evidence import CORNERS, FEW_OF_CLASS, INSIDE, OUTSIDE, RING
from medgraft.types import (
    AuditFinding,
    Box,
    Canvas,
    Estimate,
    Floats,
    Geometry,
    ImageTable,
    Source,
)
from numpy_model import SIDE, ByBrightness


@pytest.fixture
def extractor(tmp_path: Path) -> Extractor:
    return Extractor(Cache(tmp_path / "cache"), workers=1)


def made(
    folder: Path,
    n: int = 160,
    where: tuple[slice, slice] | None = None,
    seed: int = 0,
    also: tuple[slice, slice] | None = None,
) -> ImageTable:
    """Grey noise around 100, half of class 1, which is brighter by 40 in a place or 100 in one."""
    rng = np.random.default_rng(seed)
    images = rng.normal(100, 12, (n, SIDE, SIDE))
    labels = np.arange(n) % 2
    for place, brighter in ((where, 40), (also, 100)):
        for row in range(n) if place is not None else ():
            images[(row, *place)] += rng.normal(brighter * (labels[row] - 0.5), 12)
    file = folder / "made.npz"
    np.savez(
        file,
        train_images=np.clip(images, 0, 255).astype(np.uint8),
        train_labels=labels[:, None].astype(np.uint8),
    )
    return load(file, LoadOptions(no_groups=True, positive="1"))


TOP_LEFT = (slice(0, 11), slice(0, 11))
MIDDLE = (slice(24, 40), slice(24, 40))


def audited(
    table: ImageTable, place: tuple[slice, slice], extractor: Extractor, **options: Any
) -> Audit:
    return audit_evidence([(ByBrightness(place), table)], AuditOptions(**options))


# --------------------------------------------------------------------------- regions


def test_corners_and_border_are_as_large_as_the_layout_says() -> None:
    regions = {region.name: region for region in regions_of(100, layout_of("xray"))}
    assert regions[RING].base.sum() == 100**2 - 88**2
    assert all(regions[name].base.sum() == 18**2 for name in CORNERS)
    assert regions["everything not declared"].base.sum() == 88**2 - 4 * 12**2
    cells = [region.base for region in regions.values() if region.role == "map"]
    assert (np.sum(cells, axis=0) == 1).all()


def test_a_moved_corner_lies_opposite_and_takes_its_pixels_along() -> None:
    regions = {region.name: region for region in regions_of(100, layout_of(""))}
    moved = regions["top left corner, moved"]
    assert (moved.base == regions["bottom right corner"].base).all()
    picture = np.zeros((100, 100), np.uint8)
    picture[:9, :9] = 7
    donor = Canvas("donor", picture, Geometry.identity(100, 100))
    blank = Canvas("blank", np.zeros((100, 100), np.uint8), Geometry.identity(100, 100))
    whole, _ = exchanged(blank, donor, moved.base, alphas(moved.base), moved.move)
    assert (whole.pixels[84:91, 84:91] == 7).all()
    assert whole.pixels[:82, :82].max() == 0
    assert whole.pixels[91:, 91:].max() == 0


def test_nothing_declared_lies_inside_any_of_the_masks() -> None:
    union = np.zeros((100, 100), dtype=bool)
    union[10:60, 10:60] = True
    regions = regions_of(100, layout_of(""), masks=True)
    declared = [region.within(union) for region in regions if region.role == "declared"]
    (inside,) = [region.within(union) for region in regions if region.name == INSIDE]
    (outside,) = [region.within(union) for region in regions if region.name == OUTSIDE]
    assert not any((mask & union).any() for mask in declared)
    assert (inside ^ outside).all()  # the two share nothing and leave nothing over
    assert inside[union].all()


def test_a_seam_is_where_a_region_fades_and_nowhere_else() -> None:
    mask = np.zeros((100, 100), dtype=bool)
    mask[30:70, 30:70] = True
    whole, seam = alphas(mask)
    assert (whole[~mask] == 0).all()
    assert whole[50, 50] == 1
    assert seam[50, 50] == 0
    assert seam[30:70, 31].max() > 0
    corner = np.zeros((100, 100), dtype=bool)
    corner[:20, :20] = True
    assert alphas(corner)[0][0, 0] == 1  # no fading where the canvas ends


# --------------------------------------------------------------------------- exchanges


def test_an_image_exchanged_with_itself_is_itself_and_what_lies_outside_stays() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = (
        Canvas(name, rng.integers(0, 255, (50, 50, 3), np.uint8), Geometry.identity(50, 50))
        for name in ("ours", "theirs")
    )
    mask = np.zeros((50, 50), dtype=bool)
    mask[5:30, 10:45] = True
    flat = Canvas("", np.full((50, 50, 3), 70, np.uint8), Geometry.identity(50, 50))
    for same in exchanged(flat, flat, mask, alphas(mask)):
        assert (same.pixels == flat.pixels).all()
    before = ours.pixels.copy()
    for changed in exchanged(ours, theirs, mask, alphas(mask)):
        assert (changed.pixels[~mask] == ours.pixels[~mask]).all()
        assert (changed.pixels[mask] != ours.pixels[mask]).any()
    assert (ours.pixels == before).all()


def test_what_is_put_in_depends_on_nothing_of_the_donor_but_the_region() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 190, (2, 50, 50), np.uint8)
    mask = np.zeros((50, 50), dtype=bool)
    mask[:20, :20] = True
    other = pixels[1].copy()
    other[~mask] = 255
    ours, donor, brighter = (
        Canvas("", each, Geometry.identity(50, 50)) for each in (pixels[0], pixels[1], other)
    )
    one, _ = exchanged(ours, donor, mask, alphas(mask))
    two, _ = exchanged(ours, brighter, mask, alphas(mask))
    assert (one.pixels == two.pixels).all()


@pytest.mark.parametrize("place", [np.s_[:20, :20], np.s_[15:35, 10:40], np.s_[:, :]])
def test_nothing_that_is_removed_leaves_a_trace(place: tuple[slice, slice]) -> None:
    """Two recipients that differ inside the region, as their classes do, become the same image."""
    rng = np.random.default_rng(0)
    dark = rng.integers(20, 60, (50, 50), np.uint8)
    mask = np.zeros((50, 50), dtype=bool)
    mask[place] = True
    whole, _ = alphas(mask)
    bright = np.where(whole == 1, dark + 120, dark).astype(np.uint8)
    donor = Canvas("", rng.integers(0, 255, (50, 50), np.uint8), Geometry.identity(50, 50))
    one, two = (
        next(exchanged(Canvas("", pixels, donor.geometry), donor, mask, alphas(mask)))
        for pixels in (dark, bright)
    )
    assert (one.pixels == two.pixels).all()


def test_a_donor_is_made_as_bright_as_what_is_around_it() -> None:
    mask = np.zeros((50, 50), dtype=bool)
    mask[10:30, 10:40] = True
    ours, theirs = (
        Canvas("", np.full((50, 50), grey, np.uint8), Geometry.identity(50, 50))
        for grey in (90, 80)
    )
    made, _ = exchanged(ours, theirs, mask, alphas(mask))
    assert (made.pixels == 90).all()


def test_grey_and_colour_go_together() -> None:
    grey = Canvas("", np.full((40, 40), 90, np.uint8), Geometry.identity(40, 40))
    colour = Canvas("", np.full((40, 40, 3), 30, np.uint8), Geometry.identity(40, 40))
    mask = np.zeros((40, 40), dtype=bool)
    mask[:10, :10] = True
    for first, second in ((grey, colour), (colour, grey)):
        whole, _ = exchanged(first, second, mask, alphas(mask))
        assert whole.pixels.shape == (40, 40, 3)


def test_donors_are_one_image_a_patient_and_recipients_are_other_patients(
    tmp_path: Path, extractor: Extractor
) -> None:
    import dataclasses

    table = made(tmp_path, 120)
    groups = np.array([f"patient{i // 4}" for i in range(120)])
    table = dataclasses.replace(table, groups=groups)
    part, _ = read_part(ByBrightness(MIDDLE), table, masks=False)
    assert part is not None
    units = draw_units([part], 100)
    donors = [i for unit in units for i in unit.donors]
    assert 10 <= len(units) <= 15  # of 30 patients
    assert len(set(groups[donors])) == len(donors)
    for unit in units:
        assert [table.labels[i] for i in unit.donors] == list(unit.classes)
        assert [table.labels[i] for i in unit.recipients] == list(unit.classes)
        assert not set(groups[list(unit.recipients)]) & set(groups[list(unit.donors)])


# --------------------------------------------------------------------------- verdicts


def test_a_classifier_that_reads_a_declared_corner_fails_for_that_corner(
    tmp_path: Path, extractor: Extractor
) -> None:
    audit = audited(made(tmp_path, where=TOP_LEFT), TOP_LEFT, extractor, modality="xray")
    assert audit.result.verdict == "FAIL"
    severe = [f for f in audit.result.findings if f.severity == "severe"]
    assert {f.numbers["region"] for f in severe if f.check == "region_decides"} <= {
        CORNERS[0],
        RING,
        "bottom right corner, moved",  # whose pixels are put into the top left corner
    }
    (corner,) = [e for e in audit.effects if e.region == CORNERS[0]]
    assert corner.points.value > 0.5
    assert corner.p < 0.001
    assert audit.left is not None
    assert audit.left.without > 0.9  # all skill is left without the evidence
    assert audit.turned[CORNERS[0]]


def test_the_same_corner_undeclared_is_a_question_and_not_a_failure(
    tmp_path: Path, extractor: Extractor
) -> None:
    audit = audited(made(tmp_path, where=TOP_LEFT), TOP_LEFT, extractor)
    assert audit.result.verdict == "WARN"
    decides = [f for f in audit.result.findings if f.check == "region_decides"]
    assert {(f.severity, f.reason) for f in decides} == {("warn", "suspect")}


def test_a_classifier_that_reads_the_middle_passes_and_says_what_it_would_have_seen(
    tmp_path: Path, extractor: Extractor
) -> None:
    audit = audited(made(tmp_path, where=MIDDLE), MIDDLE, extractor, modality="xray")
    assert audit.result.verdict == "PASS"
    assert 0 <= audit.result.smallest_effect <= 0.1
    (middle,) = [e for e in audit.effects if e.region == "row 2, column 2"]
    assert middle.p < 0.001
    assert middle.points.value > 0.3
    assert audit.left is not None
    assert audit.left.before > 0.9
    assert abs(audit.left.without - 0.5) < 0.15  # nothing is left without the evidence
    assert audit.left.share.low <= audit.left.share.value <= audit.left.share.high < 0.5


@dataclass(frozen=True)
class Against(ByBrightness):
    """Goes by the middle, and a little less by the darkness of a corner."""

    def probabilities(self, canvases: Iterable[Canvas]) -> Floats:
        rows = [canvas.pixels for canvas in canvases]
        middle = np.array([pixels[MIDDLE].mean() for pixels in rows])
        corner = np.array([pixels[self.place].mean() for pixels in rows])
        p = 1 / (1 + np.exp(-self.slope * (middle - 100 - 0.3 * (corner - 100))))
        return np.stack([1 - p, p], axis=1)


def test_a_place_that_turns_labels_the_other_way_round_is_no_pass(
    tmp_path: Path, extractor: Extractor
) -> None:
    table = made(tmp_path, where=MIDDLE, also=TOP_LEFT)
    audit = audit_evidence([(Against(TOP_LEFT), table)], AuditOptions(modality="xray"))
    assert audit.ranked.value > 0.65
    assert audit.result.verdict == "WARN"
    (corner,) = [e for e in audit.effects if e.region == CORNERS[0]]
    assert corner.turns_against
    assert corner.points.value <= -0.05
    assert not corner.decides
    (found,) = [
        f for f in audit.result.findings
        if f.check == "region_against" and f.numbers["region"] == CORNERS[0]
    ]  # fmt: skip
    assert found.numbers["effect"] == -corner.points.value
    assert "turns labels the other way round" in sentence(found)


@dataclass(frozen=True)
class OfThree(ByBrightness):
    """The same, that knows a third class, of which nothing ever is."""

    classes = ("0", "1", "2")  # type: ignore[assignment]
    positive = None  # type: ignore[assignment]
    operating = None  # type: ignore[assignment]

    def probabilities(self, canvases: Iterable[Canvas]) -> Floats:
        two = 0.95 * super().probabilities(canvases)
        return np.hstack([two, np.full((len(two), 1), 0.05)])


def test_a_class_without_images_is_named_and_the_others_are_judged(
    tmp_path: Path, extractor: Extractor
) -> None:
    table = made(tmp_path, where=MIDDLE)
    audit = audit_evidence([(OfThree(MIDDLE), table)], AuditOptions(modality="xray"))
    assert audit.result.verdict == "PASS"
    assert {e.of_class for e in audit.effects} <= {"0", "1"}
    (absent,) = [f for f in audit.result.findings if f.check == "absent_classes"]
    assert absent.names == ("2",)


def test_what_moves_one_class_is_not_hidden_by_another_that_a_region_moves_more_surely() -> None:
    """Of class b nothing; of a every pair a little, of c every label but less alike."""
    rng = np.random.default_rng(0)
    shifts = {0: 0.02 + 0.001 * rng.standard_normal(60), 2: 4 + 3 * rng.standard_normal(60)}
    found = effects.region_effects(of_three(shifts), [frozenset({"declared"})])
    assert [one.decides for one in found] == [True]
    assert found[0].of_class in ("b", "c")  # b is in every pair
    (quiet,) = effects.region_effects(of_three({0: shifts[0], 2: 0 * shifts[2]}),
                                      [frozenset({"declared"})])  # fmt: skip
    assert (quiet.of_class, quiet.decides) == ("a", False)


def of_three(shifts: dict[int, Floats]) -> Any:
    """Swaps of pairs of b with a and with c, whose log odds a region moves by so much.

    The recipients lie 2 to either side of the threshold.
    """
    units, odds = [], []
    for k, values in shifts.items():
        for value in values:
            units.append(SimpleNamespace(part=0, classes=(k, 1), recipients=(k, 1), donors=(k, 1)))
            odds.append(value / 2)
    prob = np.full((len(units), 1, 2, 2, 2, 3), 1 / 3)
    for row, (unit, move) in enumerate(zip(units, odds, strict=True)):
        for recipient, base in enumerate((2.0, -2.0)):
            for donor, way in ((0, 1), (1, -1)):
                for variant, moved in enumerate((way * move, 0.0)):
                    own = np.full(3, -20.0)
                    own[unit.classes[0]], own[1] = (base + moved) / 2, -(base + moved) / 2
                    prob[row, 0, recipient, donor, variant] = softmax(own)
    part = SimpleNamespace(
        fitted=SimpleNamespace(classes=("a", "b", "c")),
        said=SimpleNamespace(y_prob=np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])),
        table=SimpleNamespace(labels=np.arange(3)),
        labels=lambda p: p.argmax(axis=1),
        positive=None,
        masks=None,
    )
    region = Region("here", "declared", np.ones((64, 64), bool))
    return SimpleNamespace(parts=[part], units=units, regions=[region], prob=prob)


def test_regions_of_which_nothing_but_a_seam_is_left_are_not_called_tried() -> None:
    small, large = (regions_of(side, layout_of("xray")) for side in (28, 64))
    assert [r.name for r in small if r.base.any() and not has_inside(r.base)] == [RING]
    assert all(has_inside(region.base) for region in large)
    rim = np.ones((3, 64, 64), bool)
    rim[:, :3] = False
    middle = np.zeros((3, 64, 64), bool)
    middle[:, 24:40, 24:40] = True
    regions = regions_of(64, layout_of(""), masks=True)
    unit = SimpleNamespace(part=0, donors=(0, 1), recipients=(2,))
    for masks, tried in ((rim, False), (middle, True)):
        swaps: Any = SimpleNamespace(
            parts=[SimpleNamespace(masks=masks)], units=[unit], regions=regions
        )
        put = dict(zip([r.name for r in regions], exchanged_at_all(swaps)[0], strict=True))
        assert put[OUTSIDE] == tried
        assert put[INSIDE]
    (found,) = not_exchanged(regions, (), masks=True)
    assert (found.check, OUTSIDE in found.names) == ("not_exchanged", True)
    assert "hardly anything, outside" in sentence(found)
    decides = AuditFinding("region_decides", "severe")
    assert verdict_of([found], 0.05) == "INCONCLUSIVE"
    assert verdict_of([found, decides], 0.05) == "FAIL"
    (found,) = not_exchanged(small, (), masks=False)
    assert RING in found.names
    assert "nothing but the seam" in sentence(found)


def test_only_images_of_one_shape_share_their_place_on_the_canvas() -> None:
    def part(*boxes: Box) -> Any:
        canvases = [SimpleNamespace(geometry=SimpleNamespace(content=box)) for box in boxes]
        return SimpleNamespace(side=100, canvases=canvases)

    wide, nearly, strip = Box(25, 0, 50, 100), Box(26, 0, 49, 100), Box(40, 0, 20, 100)
    assert common_content([part(wide, wide), part(nearly)]) == Box(26, 0, 49, 100)
    assert common_content([part(wide, wide, strip)]) is None
    assert common_content([part(*[wide] * 19, strip)]) == wide
    padded = AuditFinding("padded", "warn")
    assert verdict_of([padded], 0.05) == "INCONCLUSIVE"
    assert common_content([part(Box(0, 0, 100, 100))]) == Box(0, 0, 100, 100)


def test_border_and_corners_of_padded_images_are_the_images_own() -> None:
    content = Box(25, 0, 50, 100)
    regions = {r.name: r.base for r in regions_of(100, layout_of("xray"), content=content)}
    ring = np.ones((100, 100), bool)
    ring[28:72, 3:97] = False
    np.testing.assert_array_equal(regions[RING], ring)
    corner = np.zeros((100, 100), bool)
    corner[:34, :9] = True
    np.testing.assert_array_equal(regions[CORNERS[0]], corner)
    np.testing.assert_array_equal(regions[CORNERS[3]], corner[::-1, ::-1])


def answers(n: int, left: float, rng: np.random.Generator) -> Any:
    """Swaps of n pairs whose recipients keep `left` of their log odds' distance between classes."""
    labels = np.arange(2 * n) % 2
    before = rng.standard_normal(2 * n) + 2.0 * labels
    after = rng.standard_normal(2 * n) + 2.0 * left * labels

    def prob(odds: Floats) -> Floats:
        p = 1 / (1 + np.exp(-odds))
        return np.stack([1 - p, p], axis=-1)

    groups = np.array([f"p{i}" for i in range(2 * n)])
    part = SimpleNamespace(
        said=SimpleNamespace(y_prob=prob(before)),
        table=SimpleNamespace(labels=labels, groups=groups),
    )
    rows = np.arange(2 * n).reshape(n, 2)
    units = [SimpleNamespace(part=0, classes=(0, 1), recipients=tuple(r)) for r in rows.tolist()]
    given = np.broadcast_to(prob(after[rows])[:, None, :, None, None], (n, 1, 2, 2, 2, 2))
    return SimpleNamespace(parts=[part], units=units, prob=given)


@pytest.mark.parametrize("left", [0.0, 0.3])
def test_the_interval_of_skill_left_covers_the_truth(left: float) -> None:
    """Two normals 2 and 2 * left apart: AUROC Φ(apart / √2)."""
    truth = (stats.norm.cdf(2 * left / 2**0.5) - 0.5) / (stats.norm.cdf(2 / 2**0.5) - 0.5)
    found = [
        effects.without_region(answers(60, left, np.random.default_rng(seed)), 0).share
        for seed in range(150)
    ]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert covered > 0.95 - 3 * (0.95 * 0.05 / 150) ** 0.5
    surely = np.mean([one.low > truth for one in found])
    assert surely < 0.025 + 3 * (0.025 * 0.975 / 150) ** 0.5


def test_one_pair_rules_nothing_out() -> None:
    assert possible(np.array([0.3])) == seen(np.array([0.3]), 0.5) == np.inf


def test_a_class_of_few_pairs_is_named_and_two_classes_are_not_counted_so() -> None:
    units = [Unit(0, (0, 1), (0, 1), ()) for _ in range(40)]
    units += [Unit(0, (0, 2), (0, 2), ()) for _ in range(11)]
    (found,) = doubts_of_classes(units, ("a", "b", "c"))
    assert (found.check, found.names, found.numbers["pairs"]) == ("few_pairs", ("c",), 11)
    assert "11 of the pairs of patients hold one of class c" in sentence(found)
    assert not doubts_of_classes([*units, units[-1]], ("a", "b", "c"))
    (absent,) = doubts_of_classes(units[:40], ("a", "b", "c"))
    assert (absent.check, absent.severity, absent.names) == ("absent_classes", "info", ("c",))


def test_of_many_classes_enough_images_of_each_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(14 * 100) % 14
    ids = np.arange(len(labels)).astype(str)
    table = ImageTable(
        ids=ids, sources=tuple(map(Source, ids)), content_hashes=ids, labels=labels, groups=ids,
        splits=np.full(len(ids), ""), masks=np.full(len(ids), ""), classes=tuple("abcdefghijklmn"),
    )  # fmt: skip
    fold = np.random.default_rng(0).permutation(np.arange(len(labels)) % 5)
    models = [(SimpleNamespace(classes=table.classes), table.select(fold == k)) for k in range(5)]
    monkeypatch.setattr(
        evidence, "read_part", lambda fitted, part, masks: (SimpleNamespace(table=part), [])
    )
    drawn, _ = _read_parts(models, AuditOptions())  # type: ignore[arg-type]
    counts = np.bincount(np.concatenate([part.table.labels for part in drawn]))
    assert counts.min() >= FEW_OF_CLASS
    few, _ = _read_parts(models, AuditOptions(images=50))  # type: ignore[arg-type]
    assert sum(len(part.table) for part in few) == 50


def test_an_effect_that_the_interval_leaves_possible_is_not_ruled_out() -> None:
    none = Estimate(0.0, 0.0, 0.0, 60, "")
    assert effects.upper(none) == pytest.approx(3.8415 / (60 + 3.8415), abs=1e-4)  # Wilson, 0 of 60
    assert effects.upper(Estimate(0.05, 0.02, 0.12, 1000, "")) == 0.12
    rng = np.random.default_rng(2)
    missed = np.mean([effects.possible(rng.normal(0.2, 1, 60)) < 0.2 for _ in range(2000)])
    assert abs(missed - 0.025) < 4 * (0.025 * 0.975 / 2000) ** 0.5


def test_what_is_said_to_be_visible_is_hardly_ever_missed() -> None:
    """Of effects of every size few are both not found and said to have been visible."""
    rng = np.random.default_rng(3)
    n, limit = 60, float(stats.norm.ppf(0.999))
    for truth in (0.1, 0.3, 0.5):
        missed = 0
        for _ in range(1000):
            d = rng.standard_t(5, n) + truth
            t = d.sum() / np.sqrt((d**2).sum())
            missed += t < limit and min(effects.seen(d, limit), effects.possible(d)) < truth
        assert missed / 1000 < 0.2


def test_content_that_tells_no_class_does_not_fail_a_classifier_that_reacts_to_it(
    tmp_path: Path, extractor: Extractor
) -> None:
    """The corner moves the score as much as the middle, but by chance alone."""
    table = made(tmp_path, where=MIDDLE)

    @dataclass(frozen=True)
    class ByBoth(ByBrightness):
        def probabilities(self, canvases: Iterable[Canvas]) -> Floats:
            found = [(c.pixels[MIDDLE].mean(), c.pixels[TOP_LEFT].mean()) for c in canvases]
            middle, corner = np.array(found).T
            p = 1 / (1 + np.exp(-0.2 * (middle - 100) - 2.0 * (corner - 100)))
            return np.stack([1 - p, p], axis=1)

    options = AuditOptions("xray")
    audit = audit_evidence([(ByBoth(MIDDLE), table)], options)
    assert audit.result.verdict != "FAIL"
    assert all(e.p > 0.01 for e in audit.effects if e.role == "declared")


def test_too_few_images_and_weak_models_get_no_verdict(
    tmp_path: Path, extractor: Extractor
) -> None:
    few = audited(made(tmp_path, 20, TOP_LEFT), TOP_LEFT, extractor, modality="xray")
    assert few.result.verdict == "INCONCLUSIVE"
    assert few.result.smallest_effect == 1.0
    weak = audited(made(tmp_path, where=TOP_LEFT), MIDDLE, extractor, modality="xray")
    assert weak.result.verdict == "INCONCLUSIVE"
    assert any(f.check == "weak_model" for f in weak.result.findings)


def test_a_modality_that_does_not_exist_is_named(tmp_path: Path, extractor: Extractor) -> None:
    with pytest.raises(ScenarioError, match="no modality 'mri'; there are: xray"):
        audited(made(tmp_path), MIDDLE, extractor, modality="mri")


def test_masks_that_no_image_has_are_an_error(tmp_path: Path, extractor: Extractor) -> None:
    with pytest.raises(DataError, match="no image to audit"):
        audited(made(tmp_path), MIDDLE, extractor, masks=True)


# --------------------------------------------------------------------------- statistics


def test_false_alarms_in_a_family_keep_to_their_level() -> None:
    """1,000 families of 6 correlated regions without any effect, tested at .01 and at .2."""
    rng = np.random.default_rng(0)
    signs = rng.choice(np.array([-1, 1], np.float32), (999, 40))
    smallest = []
    for _ in range(1000):
        d = rng.standard_t(3, (40, 6)) + rng.standard_t(3, (40, 1))  # heavy tails
        t, largest = effects._by_signs(d, signs)
        p = (1 + (largest[:, None] >= t - 1e-9).sum(axis=0)) / 1000
        smallest.append(p.min())
    for level in (0.01, 0.2):
        alarms = int((np.array(smallest) <= level).sum())
        assert stats.binom.cdf(alarms, 1000, level) < 0.9999
        assert stats.binom.sf(alarms, 1000, level) > 1e-6


def test_the_smallest_visible_effect_is_seen_four_times_in_five() -> None:
    rng = np.random.default_rng(1)
    n, limit = 80, float(stats.norm.ppf(0.99))
    visible = float(np.mean([effects.seen(rng.normal(0, 1, n), limit) for _ in range(50)]))
    signs = rng.choice(np.array([-1, 1], np.float32), (999, n))
    hits = 0
    for _ in range(600):
        t, largest = effects._by_signs(rng.normal(visible, 1, (n, 1)), signs)
        hits += int((largest >= t[0]).sum() <= 9)
    assert 0.75 < hits / 600 < 0.85


def test_a_long_audit_says_after_its_first_pairs_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, said = [0.0], list[str]()
    monkeypatch.setattr("medgraft.audit.swap.time.perf_counter", lambda: now[0])
    for seconds, told in (
        (0.5, []),
        (10.0, ["The audit of 33 pairs of images takes about 5 min more. Shorten."]),
    ):
        said.clear()
        progress: Any = SimpleNamespace(say=said.append)
        forecast = Forecast(33, progress, "Shorten.")
        for _ in range(33):
            forecast.done()
            now[0] += seconds
        assert said == told
