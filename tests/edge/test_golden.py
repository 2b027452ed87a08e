"""Golden vectors: a change of output without a new EXTRACTOR_VERSION is caught here."""

from __future__ import annotations

import numpy as np

from contracts.features.schema import EXTRACTOR_VERSION
from tests.golden.extraction import FILE, vectors

ADVICE = "raise EXTRACTOR_VERSION in contracts/features/schema.py, then run `python -m tests.golden.extraction`"


def test_extraction_gives_the_golden_numbers_of_its_version() -> None:
    with np.load(FILE, allow_pickle=False) as golden:
        assert golden["version"] == EXTRACTOR_VERSION, ADVICE
        found = vectors()
        assert set(golden.files) == set(found)
        for name, array in found.items():
            # log1p may differ in its last bit from one libm to another; float32 hides nearly all of that
            np.testing.assert_allclose(array, golden[name], rtol=2e-6, atol=1e-7, err_msg=f"{name}: {ADVICE}")
            assert array.dtype == golden[name].dtype
