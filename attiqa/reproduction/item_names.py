"""Names of the tables that `attiqa reproduce` computes, known before anything slow is imported."""

from typing import Literal, cast, get_args

Item = Literal[
    "table1",
    "table2",
    "table3",
    "table4",
    "table5",
    "table6",
    "table7",
    "agiqa",
    "pairs",
]
"""Tables 1 to 7 of the paper, and the two of section 5.1."""

ITEMS = cast(tuple[Item, ...], get_args(Item))
