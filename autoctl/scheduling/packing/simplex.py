"""Linear programs that grow, and are solved again from where the last run ended (HiGHS).

One thread and one seed, so that the same program has the same answer in every process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import highspy
import numpy as np

from autoctl.scheduling.packing.budget import Budget
from autoctl.scheduling.packing.model import FloatArray, IntArray

INFINITE: Final = highspy.kHighsInf


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """What a run ended with, at the optimum or where the budget ended it.

    Attributes:
        objective: USD/hour.
        columns: the columns' values.
        dual: the rows' duals.
        reduced: the columns' reduced costs.
    """

    objective: float
    columns: FloatArray
    dual: FloatArray
    reduced: FloatArray


class Simplex:
    """min cost . x over x >= 0; starts empty.

    Attributes:
        rows: how many rows there are.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._lp: Any = highspy.Highs()  # type: ignore[no-untyped-call] # highspy has no types
        for name, setting in (
            ("output_flag", False),
            ("threads", 1),
            ("random_seed", 0),
            ("presolve", "off"),
        ):
            self._lp.setOptionValue(name, setting)

    def add_rows(self, lower: FloatArray, upper: FloatArray) -> None:
        """Add rows without entries, between these bounds."""
        total = len(lower)
        starts, index = np.zeros(total, np.int32), np.zeros(0, np.int32)
        self._lp.addRows(total, lower, upper, 0, starts, index, np.zeros(0))
        self.rows += total

    def add_columns(
        self,
        cost: FloatArray,
        upper: FloatArray,
        starts: IntArray,
        row: IntArray,
        value: FloatArray,
    ) -> None:
        """Add columns; the entries of each, rows and values, begin at its start."""
        self._lp.addCols(
            len(cost),
            cost,
            np.zeros(len(cost)),
            upper,
            len(row),
            starts.astype(np.int32),
            row.astype(np.int32),
            value,
        )

    def run(self, budget: Budget) -> Solved:
        """Solve, within the budget's last limit, and book the work."""
        most = budget.iterations(self.rows)
        if most is not None:
            self._lp.setOptionValue("simplex_iteration_limit", most)
        self._lp.run()
        info = self._lp.getInfo()
        budget.spend_simplex(max(0, info.simplex_iteration_count), self.rows)
        solution = self._lp.getSolution()
        return Solved(
            float(info.objective_function_value),
            np.array(solution.col_value),
            np.array(solution.row_dual),
            np.array(solution.col_dual),
        )
