"""Kinds of files that are imported.

Never: an import beyond the standard library: the command line names them before anything is read.
"""

from enum import StrEnum


class FileFormat(StrEnum):
    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"
