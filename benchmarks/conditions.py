"""How often conditions that do not differ are called different: by the test on replicate means, and by tests on tiles.

Plates are simulated in which no condition has an effect. Tiles of a field are alike, and so are fields of a replicate:
the fraction of a class in a field is drawn on the logit scale, with a standard deviation between replicates and one
between fields, or from beta distributions of the same intraclass correlations; then tiles are drawn. Every plate goes
through the program's own comparison at 5 %. Beside it stand Fisher's test on the tiles of each condition, and Welch's
t-test that takes each field for a replicate.

    python benchmarks/conditions.py [--plates 10000]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit

from _results import markdown, write_section
from napari_cellclass.core.plates.condition_results import compare_conditions
from napari_cellclass.core.stats.replicates import paired_test, welch_test

_LEVEL, _FIELDS, _TILES = 0.05, 8, 100
ABOUT = """`python benchmarks/conditions.py --plates {plates}`. Rate at which two conditions without any difference are
called different at 5 %, of {plates:,} simulated plates a row (95 % interval of a rate of 5 %: {lo:.1%} to {hi:.1%}); n
replicates in each condition, {fields} fields a replicate, {tiles} tiles a field. *replicates*: what the program does,
Welch's t-test on independent replicates, the paired one where both conditions are in each replicate. *fields*: Welch's
t-test with each field as a replicate. *tiles*: Fisher's exact test on all tiles."""


@dataclass(frozen=True)
class Plate:
    """How plates are simulated: tiles alike by chance of field and replicate, and the class's fraction."""

    name: str
    n: int
    fraction: float = 0.2
    paired: bool = False
    between_replicates: float = 0.4  # standard deviation on the logit scale
    between_fields: float = 0.5
    beta: bool = False

    def draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw counts of the class in each field: int64, shape (2, n, fields)."""
        if self.beta:
            fractions = self._beta(rng)
        else:
            own = rng.normal(0, self.between_replicates / 2 if self.paired else self.between_replicates, (2, self.n, 1))
            shared = rng.normal(0, self.between_replicates, (1, self.n, 1)) if self.paired else 0.0
            fields = rng.normal(0, self.between_fields, (2, self.n, _FIELDS))
            fractions = expit(logit(self.fraction) + own + shared + fields)
        return rng.binomial(_TILES, fractions)

    def _beta(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw from nested beta distributions; their intraclass correlation is about that of the logit scale."""

        def nested(mean: NDArray[np.float64] | float, spread: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
            rho = spread**2 * self.fraction * (1 - self.fraction)  # variance p(1-p)rho, by the delta method
            size = 1 / rho - 1
            found: NDArray[np.float64] = rng.beta(mean * size, (1 - mean) * size, shape)
            return np.clip(found, 1e-4, 1 - 1e-4)

        if self.paired:
            shared = nested(self.fraction, self.between_replicates, (1, self.n, 1))
            replicates = nested(shared, self.between_replicates / 2, (2, self.n, 1))
        else:
            replicates = nested(self.fraction, self.between_replicates, (2, self.n, 1))
        return nested(replicates, self.between_fields, (2, self.n, _FIELDS))


PLATES = [
    *(Plate("independent", n) for n in (3, 4, 5, 6)),
    *(Plate("paired", n, paired=True) for n in (3, 4, 5, 6)),
    *(Plate("independent, beta-binomial", n, beta=True) for n in (3, 6)),
    *(Plate("paired, beta-binomial", n, paired=True, beta=True) for n in (3, 6)),
    *(Plate("independent, rare class", n, fraction=0.02) for n in (3, 6)),
    *(Plate("independent, very different replicates", n, between_replicates=1.0) for n in (3, 6)),
]


def p_replicates(plate: Plate, counts: NDArray[np.int64]) -> float:
    """Test on the means of replicates, as the program does."""
    means = (counts / _TILES).mean(axis=2)
    found = (paired_test if plate.paired else welch_test)(means[0], means[1])
    return 1.0 if found.p is None else found.p


def p_fields(plate: Plate, counts: NDArray[np.int64]) -> float:
    """Test with each field as a replicate, which is wrong."""
    found = welch_test(counts[0].ravel() / _TILES, counts[1].ravel() / _TILES)
    return 1.0 if found.p is None else found.p


def p_tiles(plate: Plate, counts: NDArray[np.int64]) -> float:
    """Test on tiles, which is wrong."""
    found, tiles = counts.sum(axis=(1, 2)), plate.n * _FIELDS * _TILES
    return float(stats.fisher_exact([found, tiles - found]).pvalue)


def whole_program(plate: Plate, counts: NDArray[np.int64]) -> float:
    """Run the comparison from a table of fields, and give its p-value."""
    names = ["treated", "control"]
    frame = pd.DataFrame(
        [
            {
                "image": f"{c}{r}{f}", "stem": f"{c}{r}{f}", "well": "", "condition": names[c],
                "replicate": f"{r}" if plate.paired else f"{c}{r}", "state": "done", "tiles": _TILES,
                "n_a": int(counts[c, r, f]), "n_b": int(_TILES - counts[c, r, f]),
            }
            for c, r, f in np.ndindex(counts.shape)
        ]
    )  # fmt: skip
    results = compare_conditions(frame, ("a", "b"), names)
    assert results is not None
    p = results.tests[0].p_holm
    return 1.0 if p is None else p


def rates(plate: Plate, plates: int, seed: int) -> dict[str, str]:
    """Simulate plates, and give the rates of p-values below 5 % of each test."""
    rng = np.random.default_rng(seed)
    tests: dict[str, Callable[[Plate, NDArray[np.int64]], float]] = {
        "replicates": p_replicates, "fields": p_fields, "tiles": p_tiles,
    }  # fmt: skip
    called = dict.fromkeys(tests, 0)
    for i in range(plates):
        counts = plate.draw(rng)
        p = {name: test(plate, counts) for name, test in tests.items()}
        if i < 20:  # the whole program says what the test says
            assert np.isclose(whole_program(plate, counts), p["replicates"])
        for name, value in p.items():
            called[name] += value < _LEVEL
    return {
        "plates of": plate.name, "fraction": f"{plate.fraction:g}", "n": str(plate.n),
        **{name: f"{count / plates:.1%}" for name, count in called.items()},
    }  # fmt: skip


def main() -> None:
    """Print the rates, and write them to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plates", type=int, default=10_000, help="simulated plates a row")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    found = []
    for seed, plate in enumerate(PLATES):
        found.append(rates(plate, options.plates, seed))
        print(found[-1], flush=True)
    half = 1.96 * (_LEVEL * (1 - _LEVEL) / options.plates) ** 0.5
    about = ABOUT.format(plates=options.plates, lo=_LEVEL - half, hi=_LEVEL + half, fields=_FIELDS, tiles=_TILES)
    write_section(options.out, "Conditions without a difference", f"{about}\n\n{markdown(pd.DataFrame(found))}")


if __name__ == "__main__":
    main()
