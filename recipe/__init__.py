"""The typed recipe: one YAML file that states a whole run.

- Unknown keys are refused; every default is visible in the resolved recipe. `recipe_file` reads and explains.
- `python -m attar.recipe` prints the JSON Schema that editors use; it is generated from these types.
- Fields carry their own documentation, which is also the documentation of the schema.
- `$NAME` in a path is taken from the environment, and a name that is not set is an error, not an empty word.
"""

from __future__ import annotations

from .augment import Augment
from .compression import Healing, Step
from .export import Calibration, Export, Int4, Mixed, Preset
from .general import General
from .knowledge import Fuse, Graph, GraphFiles, Knowledge, MaskedText, TransE
from .models import Distil, Intermediate, Prediction, Student, Teacher, TeacherCache
from .parts import Columns, Distinct, Part, Positive, Some, Weight, expand
from .pretraining import Corpus, PlainText, Pretrain, Pretraining, Sharing, Vocabulary
from .relations import Relations
from .run import SMALLER, Budget, Measure, Recipe, dump, schema
from .search import HEAL, SPACE, Search, changes
from .steps import Factorize, Prune, Quantize, Share
from .task import (
    BY_ROWS,
    FORMATS,
    METRICS,
    OWN,
    TABLES,
    TEXTS,
    AsQuestion,
    Files,
    Format,
    Metric,
    Mixture,
    Split,
    Task,
    in_words,
)
from .training import Optimization, Precision
from .trim import Trim

__all__ = [
    "BY_ROWS",
    "FORMATS",
    "HEAL",
    "METRICS",
    "OWN",
    "SMALLER",
    "SPACE",
    "TABLES",
    "TEXTS",
    "AsQuestion",
    "Augment",
    "Budget",
    "Calibration",
    "Columns",
    "Corpus",
    "Distil",
    "Distinct",
    "Export",
    "Factorize",
    "Files",
    "Format",
    "Fuse",
    "General",
    "Graph",
    "GraphFiles",
    "Healing",
    "Int4",
    "Intermediate",
    "Knowledge",
    "MaskedText",
    "Measure",
    "Metric",
    "Mixed",
    "Mixture",
    "Optimization",
    "Part",
    "PlainText",
    "Positive",
    "Precision",
    "Prediction",
    "Preset",
    "Pretrain",
    "Pretraining",
    "Prune",
    "Quantize",
    "Recipe",
    "Relations",
    "Search",
    "Share",
    "Sharing",
    "Some",
    "Split",
    "Step",
    "Student",
    "Task",
    "Teacher",
    "TeacherCache",
    "TransE",
    "Trim",
    "Vocabulary",
    "Weight",
    "changes",
    "dump",
    "expand",
    "in_words",
    "schema",
]
