"""Many jobs of one row: alternatives and lists in prompts, and sweeps over settings."""

from sigmafarm.matrices.matrix import Matrix, MatrixSaid, matrix_of
from sigmafarm.matrices.sweep import Sweep

__all__ = ["Matrix", "MatrixSaid", "Sweep", "matrix_of"]
