"""A store of the outputs of many models, in one folder that survives crashes."""

from .check import CheckReport, check_store
from .check_segments import Finding
from .distances import SourceDistance, source_id
from .export import export_distances, export_models
from .lock import writer_of
from .records import FileStamp, ModelRecord, ResultKey, architecture_text
from .store import ModelStore

__all__ = [
    "CheckReport",
    "FileStamp",
    "Finding",
    "ModelRecord",
    "ModelStore",
    "ResultKey",
    "SourceDistance",
    "architecture_text",
    "check_store",
    "export_distances",
    "export_models",
    "source_id",
    "writer_of",
]
