from __future__ import annotations

import numpy as np

from lowtide.evaluation.story import principal_plane


def test_the_plane_keeps_what_differs_most() -> None:
    points = np.array([[0, 0, 0], [4, 0, 0], [0, 2, 0], [4, 2, 0.1]])
    plane = principal_plane(points)
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=-1)
    np.testing.assert_allclose(distances, np.linalg.norm(points[:, None] - points[None], axis=-1), atol=0.1)
